"""WebSockets and event streams, for as long as those who opened them may have them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from graphql import GraphQLError, OperationType, get_operation_ast, parse

from gateway.credentials import Caller
from gateway.known_keys import KnownKeys
from gateway.tokens import has_lapsed
from schema.known_documents import MAX_TOKENS, DocumentId
from storage.clock import DatabaseClock
from storage.known_documents import KnownDocuments

LOOK_EVERY: Final = 2.0
"""Seconds between two looks at what was shown: what is revoked or has expired ends well within 10 s."""

End = Callable[[], None]


class Sessions:
    """What is open for longer than an answer takes, by what was shown to open it.

    One loop looks at each key or token once, however many are open by it.
    """

    def __init__(self, keys: KnownKeys | None, clock: DatabaseClock) -> None:
        self._keys = keys
        self._clock = clock
        self._open: defaultdict[Caller, set[End]] = defaultdict(set)

    def enter(self, caller: Caller, end: End) -> None:
        """Have ``end`` called, which must not wait, once the caller may no longer have what was opened."""
        if caller.may_lapse:
            self._open[caller].add(end)

    def leave(self, caller: Caller, end: End) -> None:
        """It is closed; also when it was ended before."""
        ends = self._open.get(caller)
        if ends is not None:
            ends.discard(end)
            if not ends:
                del self._open[caller]

    async def run_once(self) -> float:
        """Look at all of them, for a loop; answers after how many seconds to look again. Raises ``StoreUnavailable``."""
        # First what needs no store to be known.
        for caller in [one for one in self._open if has_lapsed(one, self._clock)]:
            self._end(caller)
        if self._keys is not None:
            shown = {caller.key for caller in self._open if caller.key is not None}
            # Of those that were asked for: others may have come since.
            bad = shown - await self._keys.good_among(shown)
            for caller in [one for one in self._open if one.key in bad]:
                self._end(caller)
            await self._keys.note_uses()
        return LOOK_EVERY

    def _end(self, caller: Caller) -> None:
        for end in self._open.pop(caller):
            end()


def is_subscription(document: str | None, operation_name: str | None, known: KnownDocuments) -> bool:
    """Whether this is what a document asks for: what ends with its caller, whereas all else is on its way to an answer."""
    if isinstance(document, DocumentId):
        document = known.remembered(document)
        if document is None:
            # Forgotten since it was asked for: it took long, and must not go on for ever.
            return True
    try:
        operation = get_operation_ast(parse(document or "", max_tokens=MAX_TOKENS), operation_name)
    except GraphQLError:
        return False
    return operation is not None and operation.operation is OperationType.SUBSCRIPTION
