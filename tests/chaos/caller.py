"""A client of the gateways: GraphQL over HTTP, every operation recorded as begun, and as what became of it."""

from __future__ import annotations

import itertools
from typing import Any, Final

import httpx

from tests.chaos.history import History, Operation, Outcome
from tests.chaos.ledger import now

CLIENT_PATIENCE: Final = 40.0
"""Seconds that a caller waits for an answer: far more than a gateway may take."""

_PROBLEM: Final = "... on Problem { code message }"
_JOB: Final = "... on Job { id status revision }"

_DOCUMENTS: Final = {
    "dispatch": f"mutation ($input: DispatchInput!) {{ r: dispatch(input: $input) {{ __typename {_JOB} {_PROBLEM} }} }}",
    "cancel": "mutation ($id: ID!, $reason: String) "
    f"{{ r: cancel(id: $id, reason: $reason) {{ __typename {_JOB} {_PROBLEM} }} }}",
    "pause": f"mutation ($id: ID!) {{ r: pause(id: $id) {{ __typename {_JOB} {_PROBLEM} }} }}",
    "resume": f"mutation ($id: ID!) {{ r: resume(id: $id) {{ __typename {_JOB} {_PROBLEM} }} }}",
    "retry": f"mutation ($id: ID!) {{ r: retry(id: $id) {{ __typename {_JOB} {_PROBLEM} }} }}",
    "reschedule": "mutation ($id: ID!, $schedule: RescheduleInput!) "
    f"{{ r: reschedule(id: $id, schedule: $schedule) {{ __typename {_JOB} {_PROBLEM} }} }}",
    "delete": f"mutation ($id: ID!) {{ r: delete(id: $id) {{ __typename ... on DeletedJob {{ id }} {_PROBLEM} }} }}",
    "setWebhook": "mutation ($input: SetWebhookInput!) "
    f"{{ r: setWebhook(input: $input) {{ __typename ... on WebhookSet {{ webhook {{ id }} }} {_PROBLEM} }} }}",
    "operation": "query ($id: ID!) { r: bulkOperation(id: $id) { id status matched count skipped } }",
    **{
        action: f"mutation ($filter: JobFilter!{extra[0]}) {{ r: {action}(filter: $filter{extra[1]}) "
        f"{{ __typename ... on BulkOperation {{ id status matched count skipped }} {_PROBLEM} }} }}"
        for action, extra in {
            "cancelMany": (", $reason: String", ", reason: $reason"),
            "pauseMany": (", $reason: String", ", reason: $reason"),
            "resumeMany": ("", ""),
            "retryMany": ("", ""),
            "deleteMany": ("", ""),
        }.items()
    },
}


class Caller:
    """Speaks to one gateway after the other."""

    def __init__(self, urls: list[str], history: History) -> None:
        self._urls = urls
        self._history = history
        self._turns = itertools.count()
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(CLIENT_PATIENCE, pool=None),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def ask(self, kind: str, **variables: Any) -> Operation:
        """Carry out one operation, and answer what became of it. Raises nothing that a fault could cause."""
        gateway = next(self._turns) % len(self._urls)
        operation = self._history.begin(kind, variables, gateway)

        async def note(event: str, _: Any) -> None:
            if event == "http11.send_request_body.complete":
                operation.sent = now()
            elif event == "http11.receive_response_headers.complete":
                operation.ended = now()

        try:
            body = {"query": _DOCUMENTS[kind], "variables": variables}
            response = await self._http.post(self._urls[gateway], json=body, extensions={"trace": note})
            _settle(operation, response)
        except httpx.ConnectError as error:
            operation.outcome, operation.code = Outcome.REFUSED, type(error).__name__
        except httpx.TransportError as error:
            operation.outcome, operation.code = Outcome.UNKNOWN, type(error).__name__
        finally:
            operation.ended = operation.ended or now()
        return operation


def _settle(operation: Operation, response: httpx.Response) -> None:
    if response.status_code != httpx.codes.OK:
        operation.outcome, operation.code = Outcome.UNKNOWN, f"HTTP {response.status_code}"
        operation.answer = {"body": response.text[:200]}
        return
    answer = response.json()
    if answer.get("errors"):
        error = answer["errors"][0]
        operation.answer, operation.code = error, error["extensions"]["code"]
        # Where it may have taken place after all, the message has to say so.
        certain = operation.code == "UNAVAILABLE" and "unknown" not in error["message"]
        operation.outcome = Outcome.REFUSED if certain else Outcome.UNKNOWN
        return
    operation.answer = answer["data"]["r"] or {}
    operation.code = operation.answer.get("code", "")
    operation.outcome = Outcome.REFUSED if operation.code else Outcome.OK
