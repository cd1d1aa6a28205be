"""What can go wrong with the embedded servers."""

from jobs.errors import JobgateError


class DevstackError(JobgateError):
    """The embedded servers cannot be started. The message says why and what to do, for a person at a terminal."""


class PortTaken(DevstackError):
    """Somebody else listens on the port that a server was given: another port will do."""
