"""Secrets of inputs at rest: each sealed by itself, and bound to the job and the place that it stands at."""

from __future__ import annotations

import json
from typing import Final

from jobs.errors import JobgateError
from jobs.job import Job
from jobs.json_values import JsonValue
from jobs.secret_inputs import NoSuchPlace, SealedPart, secret_from_text, with_value
from jobs.secret_places import Place
from storage.sealing import CannotOpen, Sealer

_MAX_SHOWN: Final = 200


class SecretUnreadable(JobgateError):
    """A secret of an input cannot be opened; the message names the field, and never the value."""

    def __init__(self, place: Place, why: str) -> None:
        self.place = place
        super().__init__(f"the secret {'.'.join(('input', *place))[:_MAX_SHOWN]} cannot be opened: {why}")


def input_owner(job_id: str, place: Place) -> str:
    """What a secret of an input is bound to. JSON, so that no other job and place are written alike."""
    return json.dumps(["input", job_id, *place])


class InputSecrets:
    """What keeps the secrets of inputs."""

    def __init__(self, sealer: Sealer) -> None:
        self._sealer = sealer

    @property
    def can_seal(self) -> bool:
        """Whether there is a key to seal them with."""
        return self._sealer.can_seal

    def seal(self, job_id: str, place: Place, text: bytes) -> SealedPart:
        """Raises :class:`storage.sealing.NotSealed`."""
        return SealedPart(place, self._sealer.seal(text, input_owner(job_id, place)))

    def open(self, job_id: str, part: SealedPart) -> bytes:
        """Raises :class:`SecretUnreadable`."""
        try:
            return self._sealer.open(part.box, input_owner(job_id, part.place))
        except CannotOpen as error:
            raise SecretUnreadable(part.place, str(error)) from None

    def whole_input(self, job: Job) -> JsonValue:
        """The input of a job as it was given. Raises :class:`SecretUnreadable`."""
        value = job.input
        for part in job.secrets:
            try:
                value = with_value(value, part.place, secret_from_text(self.open(job.id, part)))
            except NoSuchPlace:
                raise SecretUnreadable(part.place, "the input has no such field any more") from None
        return value
