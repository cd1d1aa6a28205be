"""The pure core: jobs, their lifecycle, recurrence, retries and events. No I/O, no clock, no randomness."""
