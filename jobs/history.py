"""The history of a job: the runs that ended."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.job import Execution, Tally
from jobs.paging import Page


@dataclass(frozen=True, slots=True)
class History:
    """One page of a job's runs, newest first, and how many there are over its whole life."""

    job_id: str
    tally: Tally
    page: Page[Execution]
