"""Every expected failure of the product, as an exception that carries the facts. The schema layer translates them once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong with what the caller gave.

    ``path`` leads to the offending value from the caller's arguments, e.g. ``("input", "schedule", "cron")``.
    """

    path: tuple[str, ...]
    message: str


class JobgateError(Exception):
    """The base of all expected failures."""


class InvalidInput(JobgateError):
    """What was given cannot be accepted; nothing was changed."""

    def __init__(self, issues: Sequence[Issue]) -> None:
        self.issues = tuple(issues)
        super().__init__("; ".join(f"{'.'.join(issue.path)}: {issue.message}" for issue in self.issues))


class BadCursor(InvalidInput):
    """The text is not a cursor that this list has given out."""

    def __init__(self, cursor: str, argument: str = "after") -> None:
        self.cursor = cursor
        super().__init__([Issue((argument,), "is not a cursor of this list")])


class CursorExpired(JobgateError):
    """The event log no longer reaches back to the cursor: events were pruned. Read the jobs anew, then follow from now."""

    def __init__(self) -> None:
        super().__init__("the event log no longer reaches back to this cursor; read the jobs again and start from now")


class SubscriberTooSlow(JobgateError):
    """Events came faster than they were taken. ``cursor`` leads behind the last one that was delivered."""

    def __init__(self, cursor: str) -> None:
        self.cursor = cursor
        super().__init__("events were not taken fast enough; subscribe again from the cursor")


class JobNotFound(JobgateError):
    """There is no such job, or the caller may not see it."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"there is no job {job_id[:100]!r}")


class StoreUnavailable(JobgateError):
    """MongoDB or Redis did not answer. Whether a write took place is unknown; ask again after ``retry_after`` seconds."""

    def __init__(self, store: str, detail: str, retry_after: float = 1.0) -> None:
        self.store = store
        self.detail = detail
        self.retry_after = retry_after
        super().__init__(f"{store} is unavailable: {detail}")


class NotWritten(StoreUnavailable):
    """The write was refused, and certainly nothing of it took place, nor will: it may be asked for again."""


class WriteRefused(JobgateError):
    """The database refuses what would become of one document, now and later; other writes are not affected."""


class JobTooLarge(WriteRefused):
    """With the change, the job would be larger than MongoDB lets a document be, 16 MB; nothing was changed."""

    def __init__(self) -> None:
        super().__init__("the job would become larger than the 16 MB that can be stored of one; nothing was changed")


class FilterTooSlow(JobgateError):
    """Jobs could not be looked through within the time that one question may take; nothing is wrong with the store."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"the jobs were not found within {seconds:g} s: too many had to be looked at; add conditions that fewer jobs meet, "
            "or declare an index on a path of their input (JOBGATE_INPUT_INDEXES)"
        )


class TooExpensive(JobgateError):
    """Statistics could not be counted within the time that one question may take; nothing is wrong with the store."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"could not be counted within {seconds:g} s; filter by product, env, namespace and task only, by a shorter time "
            "from the start of a minute to that of another, or by conditions that fewer jobs meet"
        )
