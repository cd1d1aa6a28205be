"""When a failed attempt is tried again, and after how long. The rules are those of ``mission/semantics.md`` §4."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to wait between attempts, and which errors are worth another one."""

    initial_delay: timedelta = timedelta(seconds=1)
    max_delay: timedelta = timedelta(minutes=5)
    backoff_multiplier: float = 2.0
    jitter: float = 0.0
    """The share of the delay that may be added at random: 0.3 adds up to 30 %."""
    retryable_errors: tuple[str, ...] | None = None
    """When given, only these codes are tried again."""
    non_retryable_errors: tuple[str, ...] | None = None
    """These codes fail at once."""

    def delay_before(self, retry: int, draw: float) -> timedelta:
        """The wait before retry number ``retry`` (from 1); ``draw`` is a random number in [0, 1)."""
        delay = self._without_jitter(retry)
        return delay + delay * (self.jitter * draw)

    def _without_jitter(self, retry: int) -> timedelta:
        try:
            return min(self.max_delay, self.initial_delay * self.backoff_multiplier ** (retry - 1))
        except OverflowError:
            # Grown beyond what a float or a timedelta holds, hence beyond any maximum – unless there is nothing to grow.
            return self.max_delay if self.initial_delay else self.initial_delay

    def allows(self, code: str) -> bool:
        """Whether an error with this code is worth another attempt. Codes are compared exactly."""
        if code in (self.non_retryable_errors or ()):
            return False
        return self.retryable_errors is None or code in self.retryable_errors
