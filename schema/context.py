"""What every resolver is given: the services, the caller, and ways to load what belongs to several jobs together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias, TypeVar

from strawberry.dataloader import DataLoader
from strawberry.types import Info as StrawberryInfo

from jobs.access import Principal
from jobs.audit import AuditAction
from jobs.budget import UNLIMITED, Budgets
from jobs.history import History
from jobs.job import Job
from jobs.paging import Page
from jobs.webhooks import Delivery, DeliveryStatus
from resolvers.audit import note
from resolvers.log import EventPage, events_of_jobs
from resolvers.reading import find_jobs, read_histories
from resolvers.services import Services
from resolvers.webhooks import list_deliveries
from schema.known_documents import NO_DOCUMENTS, Documents

Value = TypeVar("Value")


_MOST_NOTED: Final = 1_000
"""Reads that one entry of the audit tells of; more of them are several entries."""


class Slice(NamedTuple):
    """A page of something that belongs to a job. Those with the same paging arguments are read together."""

    first: int
    after: str | None
    job_id: str


class DeliverySlice(NamedTuple):
    """A page of what a webhook is sent, in the same way."""

    first: int
    after: str | None
    status: DeliveryStatus | None
    webhook_id: str


AnySlice: TypeAlias = Slice | DeliverySlice
"""Its last field is the id of what it belongs to, those before are the arguments."""


@dataclass
class Context:
    """One per HTTP request, but one per WebSocket connection: nothing that is read may be kept in it."""

    services: Services
    principal: Principal
    jobs: DataLoader[str, Job | None] = field(init=False)
    histories: DataLoader[Slice, History | None] = field(init=False)
    events: DataLoader[Slice, EventPage | None] = field(init=False)
    deliveries: DataLoader[DeliverySlice, Page[Delivery] | None] = field(init=False)
    payload_reads: DataLoader[str, None] = field(init=False)
    """Loads nothing: it is done once it is noted that the caller reads what this job is given, or answers."""
    connection_params: dict[str, object] | None = None
    last_event_id: str | None = None
    """The cursor that the client of an event stream has come to: its request is the one that it began with."""
    cursor: str | None = None
    """That of the event just told; of use where the context is that of a single operation."""
    budgets: Budgets = UNLIMITED
    documents: Documents = NO_DOCUMENTS

    def __post_init__(self) -> None:
        self.jobs = DataLoader(self._load_jobs, cache=False)
        self.histories = DataLoader(self._load_histories, cache=False)
        self.events = DataLoader(self._load_events, cache=False)
        self.deliveries = DataLoader(self._load_deliveries, cache=False)
        self.payload_reads = DataLoader(self._note_payload_reads, max_batch_size=_MOST_NOTED, cache=False)

    async def _load_jobs(self, job_ids: Sequence[str]) -> list[Job | None]:
        found = await find_jobs(self.services, self.principal, job_ids)
        return [found.get(job_id) for job_id in job_ids]

    async def _load_histories(self, slices: Sequence[Slice]) -> list[History | BaseException | None]:
        return await _together(
            slices, lambda ids, first, after: read_histories(self.services, self.principal, ids, first, after)
        )

    async def _load_events(self, slices: Sequence[Slice]) -> list[EventPage | BaseException | None]:
        return await _together(
            slices, lambda ids, first, after: events_of_jobs(self.services, self.principal, ids, first, after)
        )

    async def _load_deliveries(self, slices: Sequence[DeliverySlice]) -> list[Page[Delivery] | BaseException | None]:
        return await _together(
            slices,
            lambda ids, first, after, status: list_deliveries(self.services, self.principal, ids, first, after, status),
        )

    async def _note_payload_reads(self, job_ids: list[str]) -> list[None]:
        await note(self.services, self.principal, AuditAction.READ_PAYLOADS, job_ids)
        return [None] * len(job_ids)


async def _together(
    slices: Sequence[AnySlice], read: Callable[..., Awaitable[Mapping[str, Value]]]
) -> list[Value | BaseException | None]:
    """One read for all that have the same paging arguments; what it raises is the answer of these alone."""
    groups: defaultdict[tuple[object, ...], list[AnySlice]] = defaultdict(list)
    for one in slices:
        groups[one[:-1]].append(one)
    answers: dict[AnySlice, Value | BaseException | None] = {}
    for arguments, members in groups.items():
        try:
            found = await read([one[-1] for one in members], *arguments)
            answers |= {one: found.get(one[-1]) for one in members}
        except Exception as error:  # it is told to those who have asked for it
            answers |= dict.fromkeys(members, error)
    return [answers[one] for one in slices]


Info = StrawberryInfo[Context, None]
