"""Settings: read once, all from the environment, and refused by name when they make no sense."""

import pytest
from pydantic import ValidationError

from gateway.settings import Settings, SettingsError, auth_ways, environment_name, store_urls
from jobs.budget import Bucket, Kind
from storage.client import Driver

STORES = {"MONGODB_URL": "mongodb://one,two/?replicaSet=rs0", "REDIS_URL": "rediss://:word@cache:6380/1"}

JWT = {
    "JOBGATE_JWT_ISSUER": "https://issuer.example",
    "JOBGATE_JWT_AUDIENCE": "jobgate",
    "JOBGATE_JWT_JWKS": "https://issuer.example/keys",
}


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_environment({"PATH": "/usr/bin", "LANG": "C"})
    assert settings == Settings()
    assert (settings.database, settings.driver, settings.port, settings.graphiql) == (
        "jobgate",
        Driver.MOTOR,
        8000,
        False,
    )


def test_every_setting_can_be_given() -> None:
    settings = Settings.from_environment(
        {
            **STORES,
            "JOBGATE_DATABASE": "shop",
            "JOBGATE_DRIVER": "pymongo",
            "JOBGATE_PORT": "0",
            "JOBGATE_GRAPHIQL": "true",
            "JOBGATE_TASKS": "shop.tasks,shop.more",
            "JOBGATE_INPUT_INDEXES": "user.id, order,user.id,",
            "JOBGATE_LEASE_SECONDS": "2.5",
            "JOBGATE_LOG_LEVEL": "DEBUG",
        }
    )
    assert store_urls(settings) == tuple(STORES.values())
    assert settings.task_modules == ["shop.tasks", "shop.more"]
    assert settings.input_index_paths == ("user.id", "order")
    assert (settings.driver, settings.lease_seconds, settings.log_level) == (Driver.PYMONGO, 2.5, "DEBUG")


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("JOBGATE_PROT", "8000", "there is no setting JOBGATE_PROT"),
        ("JOBGATE_", "1", "there is no setting JOBGATE_"),
        # Their names have no prefix, and what has one must not be taken for them.
        ("JOBGATE_REDIS_URL", "redis://x", "there is no setting JOBGATE_REDIS_URL"),
        ("JOBGATE_PORT", "65536", "JOBGATE_PORT: input should be less than or equal to 65535, not '65536'"),
        ("JOBGATE_PORT", "", "JOBGATE_PORT: input should be a valid integer"),
        ("JOBGATE_ALLOWED_ORIGINS", "*", "JOBGATE_ALLOWED_ORIGINS: '*' is not an origin as browsers name it"),
        ("JOBGATE_ALLOWED_ORIGINS", "https://a.example/", "JOBGATE_ALLOWED_ORIGINS: 'https://a.example/' is not"),
        ("JOBGATE_ALLOWED_ORIGINS", "https://a.example, b.example", "JOBGATE_ALLOWED_ORIGINS: 'b.example' is not"),
        ("JOBGATE_ALLOWED_ORIGINS", "https://A.example", "JOBGATE_ALLOWED_ORIGINS: 'https://A.example' is not"),
        ("JOBGATE_ALLOWED_ORIGINS", "ftp://a.example", "JOBGATE_ALLOWED_ORIGINS: 'ftp://a.example' is not"),
        ("JOBGATE_ALLOWED_ORIGINS", "https://a.example:443", "JOBGATE_ALLOWED_ORIGINS: "),
        ("JOBGATE_ALLOWED_ORIGINS", "http://a.example:99999", "JOBGATE_ALLOWED_ORIGINS: "),
        ("JOBGATE_ALLOWED_ORIGINS", "http://[0::1]", "JOBGATE_ALLOWED_ORIGINS: 'http://[0::1]' is not"),
        ("JOBGATE_ALLOWED_ORIGINS", "http://127.1", "JOBGATE_ALLOWED_ORIGINS: 'http://127.1' is not"),
        ("JOBGATE_ALLOWED_ORIGINS", "http://[:::]", "JOBGATE_ALLOWED_ORIGINS: "),
        ("JOBGATE_CONCURRENCY", "0", "JOBGATE_CONCURRENCY: input should be greater than or equal to 1, not '0'"),
        ("JOBGATE_LEASE_SECONDS", "nan", "JOBGATE_LEASE_SECONDS: "),
        (
            "JOBGATE_TRUSTED_PROXIES",
            "*",
            "JOBGATE_TRUSTED_PROXIES: '*' is no address and no network such as 10.0.3.0/28",
        ),
        ("JOBGATE_TRUSTED_PROXIES", "10.0.3.0/28,0.0.0.0/0", "JOBGATE_TRUSTED_PROXIES: '0.0.0.0/0' is everybody"),
        ("JOBGATE_TRUSTED_PROXIES", "::/0", "JOBGATE_TRUSTED_PROXIES: '::/0' is everybody"),
        ("JOBGATE_TRUSTED_PROXIES", "10.0.0.1/8", "JOBGATE_TRUSTED_PROXIES: '10.0.0.1/8' is no address"),
        ("JOBGATE_KEEP_FAILED_DAYS", "-1", "JOBGATE_KEEP_FAILED_DAYS: input should be greater than or equal to 0"),
        ("JOBGATE_KEEP_FAILED_DAYS", "inf", "JOBGATE_KEEP_FAILED_DAYS: input should be less than or equal to 36500"),
        ("JOBGATE_KEEP_FAILED_DAYS", "nan", "JOBGATE_KEEP_FAILED_DAYS: "),
        ("JOBGATE_KEEP_EXECUTIONS_DAYS", "1w", "JOBGATE_KEEP_EXECUTIONS_DAYS: input should be a valid number"),
        ("JOBGATE_KEEP_EVENTS_DAYS", "0.04", "JOBGATE_KEEP_EVENTS_DAYS: input should be greater than or equal to 0.05"),
        ("JOBGATE_DATABASE", "a.b", "JOBGATE_DATABASE: string should match pattern"),
        ("JOBGATE_TASKS", "shop.tasks,../x", "JOBGATE_TASKS: '../x' is not a module name such as package.module"),
        ("JOBGATE_INPUT_INDEXES", "a,b..c", "JOBGATE_INPUT_INDEXES: 'b..c': must be keys with single dots"),
        ("JOBGATE_INPUT_INDEXES", "a.0", "JOBGATE_INPUT_INDEXES: 'a.0': no key of an index may be a number"),
        ("JOBGATE_INPUT_INDEXES", "a,b,c,d,e,f,g,h,i,j,k", "JOBGATE_INPUT_INDEXES: 11 paths, more than the 10 allowed"),
        ("JOBGATE_DRIVER", "mongoengine", "JOBGATE_DRIVER: input should be 'motor' or 'pymongo', not 'mongoengine'"),
        ("JOBGATE_GRAPHIQL", "perhaps", "JOBGATE_GRAPHIQL: input should be a valid boolean"),
        ("JOBGATE_LOG_LEVEL", "loud", "JOBGATE_LOG_LEVEL: "),
        ("JOBGATE_AUTH", "password", "JOBGATE_AUTH: 'password' is none of none, keys and jwt"),
        ("JOBGATE_AUTH", "keys,none", "JOBGATE_AUTH: none stands alone"),
        ("JOBGATE_JWT_ALGORITHMS", "RS256,none", "JOBGATE_JWT_ALGORITHMS: 'none' is none of RS256, "),
        ("JOBGATE_JWT_ALGORITHMS", "HS256", "JOBGATE_JWT_ALGORITHMS: 'HS256' is none of RS256, "),
        ("JOBGATE_JWT_ALGORITHMS", ",", "JOBGATE_JWT_ALGORITHMS: names no algorithm"),
        ("JOBGATE_JWT_JWKS", "http://issuer.example/keys", "JOBGATE_JWT_JWKS: must be the path of a file or an https"),
        ("JOBGATE_JWT_JWKS", "file:///etc/keys", "JOBGATE_JWT_JWKS: must be the path of a file or an https URL"),
        ("JOBGATE_JWT_JWKS", "https:///keys", "JOBGATE_JWT_JWKS: must be the path of a file or an https URL"),
        ("JOBGATE_JWT_JWKS", "http://127.0.0.1.example/keys", "JOBGATE_JWT_JWKS: must be the path of a file or an"),
    ],
)
def test_what_is_unknown_or_malformed_is_refused_by_name(name: str, value: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({name: value})
    assert str(refused.value).startswith(complaint)


def test_all_that_is_wrong_is_told_at_once_and_no_url_is_shown() -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"MONGODB_URL": "mysql://user:secret@db", "REDIS_URL": "secret", "JOBGATE_X": "1"})
    assert sorted(str(refused.value).split("; ")) == [
        "MONGODB_URL is not a URL of the right kind",
        "REDIS_URL is not a URL of the right kind",
        "there is no setting JOBGATE_X",
    ]


@pytest.mark.parametrize("missing", list(STORES))
def test_both_stores_are_needed(missing: str) -> None:
    settings = Settings.from_environment({name: url for name, url in STORES.items() if name != missing})
    with pytest.raises(SettingsError, match="set MONGODB_URL and REDIS_URL, or run `jobgate dev`"):
        store_urls(settings)


def test_origins_are_listed_as_browsers_name_them() -> None:
    given = {"JOBGATE_ALLOWED_ORIGINS": "https://a.example:8443, http://[::1]:3000,"}
    assert Settings.from_environment(given).origins == ("https://a.example:8443", "http://[::1]:3000")


@pytest.mark.parametrize(
    ("auth", "ways"), [("none", ("none",)), ("keys", ("keys",)), ("jwt", ("jwt",)), (" keys, jwt,", ("keys", "jwt"))]
)
def test_callers_show_who_they_are_in_the_ways_that_are_set(auth: str, ways: tuple[str, ...]) -> None:
    assert auth_ways(Settings.from_environment({"JOBGATE_AUTH": auth, **JWT})) == ways


@pytest.mark.parametrize("auth", ["", ","])
def test_how_callers_show_who_they_are_has_to_be_said(auth: str) -> None:
    with pytest.raises(SettingsError, match="set JOBGATE_AUTH to keys, jwt or keys,jwt, or to none"):
        auth_ways(Settings.from_environment({"JOBGATE_AUTH": auth}))


@pytest.mark.parametrize("missing", list(JWT))
def test_tokens_need_an_issuer_an_audience_and_keys(missing: str) -> None:
    given = {name: value for name, value in JWT.items() if name != missing}
    for auth in ("jwt", "keys,jwt"):
        with pytest.raises(SettingsError, match=f"JOBGATE_AUTH has jwt: set {missing} as well"):
            auth_ways(Settings.from_environment({"JOBGATE_AUTH": auth, **given}))
    assert auth_ways(Settings.from_environment({"JOBGATE_AUTH": "keys", **given})) == ("keys",)


@pytest.mark.parametrize(
    "source", ["keys.json", "/etc/keys.json", "https://a.example/k", "http://[::1]:1/k", "http://localhost/k"]
)
def test_keys_come_from_a_file_or_from_where_nobody_can_answer_instead(source: str) -> None:
    assert Settings.from_environment({"JOBGATE_JWT_JWKS": source}).jwt_jwks == source


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_every_setting_is_described_under_its_name_in_the_environment() -> None:
    described = {name: (default, meaning) for name, default, meaning in Settings.described()}
    assert set(described) == {environment_name(field) for field in Settings.model_fields}
    assert described["MONGODB_URL"][0] == ""
    assert described["JOBGATE_GRAPHIQL"][0] == "false"
    assert described["JOBGATE_DRIVER"][0] == "motor"
    assert all(meaning.endswith(".") for _, meaning in described.values())


def test_budgets_hold_a_burst_and_what_one_operation_may_need() -> None:
    given = {
        "JOBGATE_COST_PER_SECOND": "2000",
        "JOBGATE_MUTATIONS_PER_SECOND": "0.1",
        "JOBGATE_CONNECTIONS_PER_SECOND": "",
    }
    settings = Settings.from_environment(given)
    assert settings.buckets == {Kind.COST: Bucket(2000, 40_000), Kind.MUTATIONS: Bucket(0.1, 10)}
    assert Settings.from_environment({"JOBGATE_SUBSCRIPTIONS_PER_SECOND": "1"}).buckets == {
        Kind.SUBSCRIPTIONS: Bucket(1, 20)
    }
    assert Settings.from_environment({}).buckets == {}
    with pytest.raises(SettingsError, match="JOBGATE_COST_PER_SECOND"):
        Settings.from_environment({"JOBGATE_COST_PER_SECOND": "0"})
