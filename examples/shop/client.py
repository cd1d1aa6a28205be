"""The gateway as a caller sees it: GraphQL over HTTP, nothing more."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import httpx

JsonObject: TypeAlias = dict[str, Any]

_JOB: Final = (
    "id status revision createdAt updatedAt nextRunAt executionCount retryCount lastError errorCode cancelReason"
)

_DISPATCH: Final = f"""
mutation Dispatch($input: DispatchInput!) {{
  dispatch(input: $input) {{
    __typename
    ... on Job {{ {_JOB} }}
    ... on Problem {{ code message }}
    ... on InvalidInput {{ issues {{ path message }} }}
  }}
}}"""

_CANCEL: Final = f"""
mutation Cancel($id: ID!, $reason: String) {{
  cancel(id: $id, reason: $reason) {{
    __typename
    ... on Job {{ {_JOB} }}
    ... on Problem {{ code message }}
  }}
}}"""

_RECORD: Final = f"""
query Record($id: ID!) {{
  job(id: $id) {{ {_JOB} }}
  history(jobId: $id, first: 100) {{
    totalExecutions successfulExecutions failedExecutions
    executions {{ number status attempts errorCode result }}
  }}
}}"""


class Refused(Exception):
    """The gateway did not do what it was asked to; the message says why."""


class Gateway:
    """One gateway, over a connection that the caller closes."""

    def __init__(self, http: httpx.AsyncClient, url: str) -> None:
        self._http = http
        self._url = url

    async def dispatch(self, request: JsonObject) -> JsonObject:
        """The new job. Raises :class:`Refused`."""
        return _job((await self._ask(_DISPATCH, input=request))["dispatch"])

    async def cancel(self, job_id: str, reason: str) -> JsonObject:
        """The job as the mutation answers it. Raises :class:`Refused`."""
        return _job((await self._ask(_CANCEL, id=job_id, reason=reason))["cancel"])

    async def record(self, job_id: str) -> JsonObject:
        """``job`` and its ``history``."""
        return await self._ask(_RECORD, id=job_id)

    async def _ask(self, query: str, **variables: Any) -> JsonObject:
        response = await self._http.post(self._url, json={"query": query, "variables": variables})
        try:
            answer = response.json()
        except ValueError:
            raise Refused(f"{self._url} answered {response.status_code} without JSON: is it a GraphQL API?") from None
        if answer.get("errors"):
            raise Refused("; ".join(str(error["message"]) for error in answer["errors"]))
        data: JsonObject = answer["data"]
        return data


def _job(result: JsonObject) -> JsonObject:
    if result["__typename"] == "Job":
        return result
    issues = [f"{'.'.join(issue['path'])}: {issue['message']}" for issue in result.get("issues", [])]
    raise Refused("; ".join(issues) or f"{result['code']}: {result['message']}")
