"""What every resolver is given: the services, the caller, and a way to load jobs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from strawberry.dataloader import DataLoader
from strawberry.types import Info as StrawberryInfo

from jobs.job import Job
from resolvers.reading import find_jobs
from resolvers.services import Principal, Services


@dataclass
class Context:
    """One per HTTP request, but one per WebSocket connection: nothing that is read may be kept in it."""

    services: Services
    principal: Principal
    jobs: DataLoader[str, Job | None] = field(init=False)
    connection_params: dict[str, object] | None = None

    def __post_init__(self) -> None:
        self.jobs = DataLoader(self._load_jobs, cache=False)

    async def _load_jobs(self, job_ids: Sequence[str]) -> list[Job | None]:
        found = await find_jobs(self.services, self.principal, job_ids)
        return [found.get(job_id) for job_id in job_ids]


Info = StrawberryInfo[Context, None]
