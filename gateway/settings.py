"""All settings: one frozen object, read from the environment once, at the root. Nothing below is handed it."""

from __future__ import annotations

import os
from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gateway import setting_values
from gateway.setting_values import AUTH_JWT, Days, DaysOfEvents, PerSecond, listed
from jobs.budget import BIGGEST_OPERATION, Buckets, Kind, bucket
from jobs.errors import JobgateError
from storage.client import Driver

PREFIX: Final = "JOBGATE_"
_UNPREFIXED: Final = ("mongodb_url", "redis_url")
_SECRET: Final = ("secret_keys",)


class SettingsError(JobgateError):
    """A setting is unknown or malformed; the message names it."""


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
    allowed_origins: Annotated[str, AfterValidator(setting_values.origins)] = Field(
        default="",
        description=(
            "The origins (scheme, host and port) whose pages may call from browsers, separated by commas. "
            "The gateway's own always may."
        ),
    )
    auth: Annotated[str, AfterValidator(setting_values.auth)] = Field(
        default="",
        description=(
            "How callers show who they are: none, keys, jwt, or keys,jwt. `jobgate serve` has to be told; `jobgate dev` asks "
            "nobody unless this is set."
        ),
    )
    jwt_issuer: str = Field(default="", description="The issuer (iss) of the tokens that are accepted.")
    jwt_audience: str = Field(default="", description="The audience (aud) of the tokens that are accepted.")
    jwt_jwks: Annotated[str, AfterValidator(setting_values.key_set)] = Field(
        default="", description="The JSON Web Key Set that tokens are checked with: a file, or an https URL."
    )
    jwt_algorithms: Annotated[str, AfterValidator(setting_values.algorithms)] = Field(
        default="RS256,ES256,EdDSA",
        description="The algorithms that tokens may be signed with, separated by commas; none with a shared secret.",
    )
    jwt_products_claim: str = Field(
        default="products", description='The claim with the products that a token reaches: a list, or "*" for all.'
    )
    jwt_envs_claim: str = Field(
        default="envs", description='The claim with the envs that a token reaches: a list, or "*" for all.'
    )
    max_in_flight: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=500,
        description="Queries and mutations that one gateway works on at a time; others are refused at once with UNAVAILABLE.",
    )
    cost_per_second: PerSecond = Field(
        default=None,
        description="Points of cost of each caller per second, with bursts of 20 seconds' worth; empty: no limit.",
    )
    mutations_per_second: PerSecond = Field(
        default=None,
        description="Mutations of each caller per second, with the same bursts; empty: no limit.",
    )
    subscriptions_per_second: PerSecond = Field(
        default=None,
        description="Subscriptions that each caller may begin per second, with the same bursts; empty: no limit.",
    )
    connections_per_second: PerSecond = Field(
        default=None,
        description="WebSockets and event streams that each caller may open per second, with the same bursts; empty: no limit.",
    )
    known_documents_only: bool = Field(
        default=False,
        description="Whether operations are refused that are not those of a registered document, those of GraphiQL too.",
    )
    tasks: Annotated[str, AfterValidator(setting_values.modules)] = Field(
        default="", description="The modules whose tasks a worker runs, separated by commas."
    )
    input_indexes: Annotated[str, AfterValidator(setting_values.paths)] = Field(
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
    secret_keys: Annotated[str, AfterValidator(setting_values.keys)] = Field(
        default="",
        repr=False,
        description=(
            "What secrets of webhooks and of inputs are sealed with: 32 bytes in base64. Several, separated by commas, while "
            "one replaces another: the first seals, all of them open. Without it no webhook can be set, and no input with a "
            "secret is taken."
        ),
    )
    keep_deliveries_days: Days = Field(
        default=30, description="The age in days, from their end, at which deliveries are forgotten; empty: never."
    )
    keep_audit_days: Days = Field(
        default=365, description="The age in days at which entries leave the audit; empty: never."
    )
    audit_reads: bool = Field(
        default=False,
        description=(
            "Whether the audit notes who is handed the input and the result of jobs. What cannot be noted is not handed out."
        ),
    )
    trusted_proxies: Annotated[str, AfterValidator(setting_values.networks)] = Field(
        default="",
        description=(
            "The addresses or networks of the proxies in front, such as 10.0.3.0/28, separated by commas: whom they name in "
            "X-Forwarded-For is taken for the client. Each must append to that header or overwrite it, and no client may "
            "be within these networks. Empty: whoever opens the connection is the client."
        ),
    )
    http_credentials: str = Field(
        default="",
        description="The file of the credentials that jobs of the task http.request may name; empty: there are none.",
    )
    allow_private_addresses: bool = Field(
        default=False,
        description=(
            "Whether webhooks and the task http.request may call private and loopback addresses, and webhooks and credentials "
            "do without TLS."
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
        return tuple(b64decode(key) for key in listed(self.secret_keys))

    @property
    def origins(self) -> tuple[str, ...]:
        return listed(self.allowed_origins)

    @property
    def proxies(self) -> tuple[str, ...]:
        return listed(self.trusted_proxies)

    @property
    def algorithms(self) -> tuple[str, ...]:
        return listed(self.jwt_algorithms)

    @property
    def buckets(self) -> Buckets:
        rates = {kind: getattr(self, f"{kind}_per_second") for kind in Kind}
        return {kind: bucket(rate, BIGGEST_OPERATION[kind]) for kind, rate in rates.items() if rate is not None}

    @property
    def input_index_paths(self) -> tuple[str, ...]:
        return listed(self.input_indexes)

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


def auth_ways(settings: Settings) -> tuple[str, ...]:
    """How callers show who they are. Raises :class:`SettingsError` when that is not said, or not all that it takes."""
    ways = listed(settings.auth)
    if not ways:
        raise SettingsError("set JOBGATE_AUTH to keys, jwt or keys,jwt, or to none to have everybody do everything")
    needed = ("jwt_issuer", "jwt_audience", "jwt_jwks") if AUTH_JWT in ways else ()
    missing = [environment_name(name) for name in needed if not getattr(settings, name)]
    if missing:
        raise SettingsError(f"JOBGATE_AUTH has {AUTH_JWT}: set {', '.join(missing)} as well")
    return ways


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
