"""How long a process has seen the database answer without a gap: what has to be known before a silent worker is called lost.

Pure: the instants are arguments, in seconds of one monotonic clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Watch:
    """An unbroken row of looks at the database, each answered, none long after the one before.

    A worker that lives renews its leases only while the database answers. So nobody's silence means anything until the database
    has been seen to answer for one whole ``lease`` (in seconds): then whoever lives has had the time to renew. More than
    half a lease between the ends of two looks is a gap, whatever it was that took so long – an outage that the driver sat out,
    one between two looks, or this process standing still, perhaps together with the workers and the database. Shorter ones hurt
    nobody: a worker that could not renew after a third of its lease still can after a third and a half.

    A process that begins knows nothing of the time before: its row begins with its first look. It may be the first to see the
    database again, and what it would save by haste is at most one lease, at its start.
    """

    lease: float
    since: float | None = None
    """When the first look of the row was answered; None before the first, and after one that failed."""
    seen_at: float = 0.0
    """When the latest look of the row was answered."""

    @property
    def is_long_enough(self) -> bool:
        """Whether a lease that is over now is its worker's own fault."""
        return self.since is not None and self.seen_at - self.since >= self.lease

    @property
    def longest_pause(self) -> float:
        """The seconds after which to look again at the latest, so that an answer that is a little late makes no gap."""
        return self.lease / 3

    def answered(self, at: float) -> Watch:
        """After a look that was answered at this instant."""
        goes_on = self.since is not None and at - self.seen_at <= self.lease / 2
        return replace(self, since=self.since if goes_on else at, seen_at=at)

    def failed(self) -> Watch:
        """After a look that was not answered: the row has ended."""
        return replace(self, since=None)
