"""All settings: one frozen object, read from the environment once, at the root. Nothing below is handed it."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from strawberry.http.websocket_origin import normalize_origin

from jobs.errors import JobgateError
from jobs.input_matches import index_path_problem
from jobs.retention import LEAST_DAYS_OF_EVENTS
from storage.client import Driver
from storage.sealing import KEY_BYTES

PREFIX: Final = "JOBGATE_"
_UNPREFIXED: Final = ("mongodb_url", "redis_url")
_SECRET: Final = ("secret_keys",)
_MOST_INDEXES: Final = 10
_ORIGIN: Final = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_MODULE: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class SettingsError(JobgateError):
    """A setting is unknown or malformed; the message names it."""


def _modules(value: str) -> str:
    for name in filter(None, value.split(",")):
        if not _MODULE.fullmatch(name):
            raise ValueError(f"{name!r} is not a module name such as package.module")
    return value


def _paths(value: str) -> str:
    paths = _listed(value)
    if len(paths) > _MOST_INDEXES:
        raise ValueError(f"{len(paths)} paths, more than the {_MOST_INDEXES} allowed")
    for path in paths:
        problem = index_path_problem(path)
        if problem:
            raise ValueError(f"{path[:80]!r}: {problem}")
    return value


def _keys(value: str) -> str:
    for number, key in enumerate(_listed(value), start=1):
        try:
            length = len(b64decode(key, validate=True))
        except ValueError:
            length = 0
        if length != KEY_BYTES:
            # Which one, and not what it is: a message is logged.
            raise PydanticCustomError(
                "key", "key {number} is not {bytes} bytes in base64", {"number": number, "bytes": KEY_BYTES}
            )
    return value


def _origins(value: str) -> str:
    for origin in _listed(value):
        # As browsers write it, which is what it is compared with: small letters, no port that the scheme has anyway.
        if not _ORIGIN.fullmatch(origin) or normalize_origin(origin) != origin:
            raise ValueError(f"{origin[:80]!r} is not an origin as browsers name it, such as https://app.example.com")
    return value


def _listed(value: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (part.strip() for part in value.split(",")))))


def _unless_empty(value: object) -> object:
    return None if value == "" else value


Days = Annotated[Annotated[float, Field(ge=0, le=36_500)] | None, BeforeValidator(_unless_empty)]
"""An age at which something is removed; empty: never."""

DaysOfEvents = Annotated[
    Annotated[float, Field(ge=LEAST_DAYS_OF_EVENTS, le=36_500)] | None, BeforeValidator(_unless_empty)
]


class Settings(BaseModel):
    """What an installation can be told. Names in the environment are these in capitals, after ``JOBGATE_``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mongodb_url: Annotated[str | None, Field(pattern=r"^mongodb(\+srv)?://")] = Field(
        default=None,
        description="The replica set or sharded cluster to use. `jobgate dev` brings its own unless this is set.",
    )
    redis_url: Annotated[str | None, Field(pattern=r"^(rediss?|unix)://")] = Field(
        default=None, description="The Redis to use. `jobgate dev` brings its own unless this is set."
    )
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,38}$")] = Field(
        default="jobgate", description="The name of the database; it also tells installations that share a Redis apart."
    )
    driver: Driver = Field(
        default=Driver.MOTOR, description="The MongoDB driver: motor, or pymongo for its own asyncio client."
    )
    host: str = Field(default="127.0.0.1", description="The address that the gateway listens on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8000, description="The port that the gateway listens on."
    )
    graphiql: bool = Field(default=False, description="Whether the gateway serves GraphiQL. `jobgate dev` does.")
    introspection: bool = Field(
        default=False,
        description="Whether clients may ask for the schema, as tools such as GraphiQL do. `jobgate dev` lets them.",
    )
    allowed_origins: Annotated[str, AfterValidator(_origins)] = Field(
        default="",
        description=(
            "The origins (scheme, host and port) whose pages may call from browsers, separated by commas. "
            "The gateway's own always may."
        ),
    )
    max_in_flight: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=500,
        description="Queries and mutations that one gateway works on at a time; others are refused at once with UNAVAILABLE.",
    )
    tasks: Annotated[str, AfterValidator(_modules)] = Field(
        default="", description="The modules whose tasks a worker runs, separated by commas."
    )
    input_indexes: Annotated[str, AfterValidator(_paths)] = Field(
        default="",
        description="Paths within the input of jobs that filters find by an index, such as user.id, separated by commas.",
    )
    concurrency: Annotated[int, Field(ge=1, le=1000)] = Field(default=20, description="Runs at a time in one worker.")
    lease_seconds: Annotated[float, Field(ge=1, le=600)] = Field(
        default=15,
        description="How long a worker may be silent before its runs are given to another; it renews three times as often.",
    )
    drain_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        default=20, description="How long runs may go on after a worker was told to stop."
    )
    cancel_grace_seconds: Annotated[float, Field(ge=0, le=600)] = Field(
        default=5, description="How long a handler may take to stop when it is told to, before it is abandoned."
    )
    max_outstanding: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=200, description="Nudges that may lie in Redis; the rest of the backlog waits in MongoDB, by priority."
    )
    sweep_seconds: Annotated[float, Field(ge=0.05, le=60)] = Field(
        default=2, description="How often workers look for lost leases and for runs that Redis has forgotten."
    )
    renudge_seconds: Annotated[float, Field(ge=0.1, le=600)] = Field(
        default=5, description="After how long without being claimed a queued run is nudged again."
    )
    keep_completed_days: Days = Field(
        default=None, description="The age in days, from their end, at which completed jobs are deleted; empty: never."
    )
    keep_failed_days: Days = Field(
        default=None, description="The age in days, from their end, at which failed jobs are deleted; empty: never."
    )
    keep_cancelled_days: Days = Field(
        default=None, description="The age in days, from their end, at which cancelled jobs are deleted; empty: never."
    )
    keep_executions_days: Days = Field(
        default=None,
        description="The age in days at which runs leave the history of a job that stays itself; empty: never.",
    )
    keep_events_days: DaysOfEvents = Field(
        default=30,
        description="The age in days at which events leave the log, and cursors to them expire; at least 0.05, empty: never.",
    )
    keep_operations_days: Days = Field(
        default=30, description="The age in days at which bulk operations that are over are forgotten; empty: never."
    )
    secret_keys: Annotated[str, AfterValidator(_keys)] = Field(
        default="",
        repr=False,
        description=(
            "What secrets of webhooks are sealed with: 32 bytes in base64. Several, separated by commas, while one replaces "
            "another: the first seals, all of them open. Without it no webhook can be set."
        ),
    )
    keep_deliveries_days: Days = Field(
        default=30, description="The age in days, from their end, at which deliveries are forgotten; empty: never."
    )
    allow_private_addresses: bool = Field(
        default=False,
        description=(
            "Whether webhooks and the task http.request may call private and loopback addresses, and webhooks do without TLS."
        ),
    )
    log_level: Annotated[str, Field(pattern=r"^(?i:debug|info|warning|error)$")] = Field(
        default="info", description="debug, info, warning or error."
    )

    @property
    def task_modules(self) -> list[str]:
        return [name for name in self.tasks.split(",") if name]

    @property
    def sealing_keys(self) -> tuple[bytes, ...]:
        return tuple(b64decode(key) for key in _listed(self.secret_keys))

    @property
    def origins(self) -> tuple[str, ...]:
        return _listed(self.allowed_origins)

    @property
    def input_index_paths(self) -> tuple[str, ...]:
        return _listed(self.input_indexes)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises :class:`SettingsError`, which names every setting that is wrong, but shows no value of a URL."""
        given = dict(_given(environment))
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise SettingsError("; ".join(_explained(error))) from None

    @classmethod
    def described(cls) -> Iterator[tuple[str, str, str]]:
        """Name in the environment, default and meaning of every setting."""
        for name, field in cls.model_fields.items():
            yield environment_name(name), _shown(field.default), field.description or ""


def _shown(default: object) -> str:
    if default is None:
        return ""
    return str(default).lower() if isinstance(default, bool) else str(default)


def store_urls(settings: Settings) -> tuple[str, str]:
    """Where MongoDB and Redis are. Raises :class:`SettingsError` when that is not set."""
    if settings.mongodb_url is None or settings.redis_url is None:
        raise SettingsError("set MONGODB_URL and REDIS_URL, or run `jobgate dev`, which brings its own servers")
    return settings.mongodb_url, settings.redis_url


def environment_name(field: str) -> str:
    """What a setting is called in the environment."""
    return field.upper() if field in _UNPREFIXED else PREFIX + field.upper()


def _given(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    known = {environment_name(field): field for field in Settings.model_fields}
    for name, value in environment.items():
        if name in known or name.startswith(PREFIX):
            # One that nobody knows goes in under its own name, to be refused under it.
            yield known.get(name, name), value


def _explained(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        name = str(problem["loc"][0])
        if problem["type"] == "extra_forbidden":
            yield f"there is no setting {name}"
        elif name in _SECRET:
            yield f"{environment_name(name)}: {problem['msg']}"
        elif name in _UNPREFIXED:
            yield f"{environment_name(name)} is not a URL of the right kind"
        else:
            message = problem["msg"].removeprefix("Value error, ")
            yield f"{environment_name(name)}: {message[0].lower()}{message[1:]}, not {str(problem['input'])[:80]!r}"
