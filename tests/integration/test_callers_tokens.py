"""Tokens: those of the issuer let in, whatever is wrong with one does not, and all that is told is the same."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from pymongo import MongoClient

from gateway.credentials import Caller
from gateway.devstack import Servers
from jobs.access import Principal, Reach, Scope
from jobs.origins import CredentialKind, Origin
from tests.callers import REFUSED, bearer, key_in
from tests.costs import costless
from tests.gateway import LiveGateway, serving_for_all
from tests.tokens import (
    AUDIENCE,
    EC_KEY,
    ISSUER,
    KINDS,
    PUBLIC_PEM,
    RSA_KEY,
    STRANGE_KEY,
    claims,
    token,
    unsigned,
    written,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("nothing_is_logged")]

TYPENAME: Final = {"query": "{ __typename }"}
JWT: Final = {"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
DEEP: Final = b"[" * 8_000


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(tmp_path_factory.mktemp("issuer"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(servers: Servers, mongodb: MongoClient[dict[str, Any]], keys_file: str) -> AsyncIterator[LiveGateway]:
    async with serving_for_all(servers, mongodb, auth="keys,jwt", jwt_jwks=keys_file, **JWT) as gateway:
        yield gateway


def signed_with_public_key() -> str:
    """HS256, with the public key for the secret: PyJWT would not make it, so it is made by hand."""
    header, payload = {"alg": "HS256", "typ": "JWT", "kid": "rsa"}, claims()
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in (header, payload)]
    digest = hmac.new(PUBLIC_PEM, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(digest).rstrip(b"=")]).decode()


def tampered() -> str:
    header, _, signature = token().split(".")
    payload = base64.urlsafe_b64encode(json.dumps(claims(scope="admin")).encode()).rstrip(b"=").decode()
    return f"{header}.{payload}.{signature}"


def own_key() -> dict[str, Any]:
    return jwt.algorithms.RSAAlgorithm.to_jwk(STRANGE_KEY.public_key(), as_dict=True)


WRONG: Final[dict[str, Callable[[], str]]] = {
    "alg none": lambda: unsigned({"alg": "none", "kid": "rsa"}, claims(), b""),
    "alg None": lambda: unsigned({"alg": "None", "kid": "rsa"}, claims(), b""),
    "no alg": lambda: unsigned({"kid": "rsa"}, claims()),
    "the public key as a secret": signed_with_public_key,
    "an algorithm that is not accepted": lambda: token(algorithm="RS512"),
    "the key of another algorithm": lambda: token(kid="ec"),
    "tampered with": tampered,
    "another's signature": lambda: token(key=STRANGE_KEY),
    "another's signature and key": lambda: token(key=STRANGE_KEY, jwk=own_key()),
    "another's keys": lambda: token(key=STRANGE_KEY, jku="http://127.0.0.1:1/keys"),
    "another audience": lambda: token(claims(aud="other")),
    "no audience": lambda: token(claims(aud=...)),
    "another issuer": lambda: token(claims(iss="https://other.example")),
    "no issuer": lambda: token(claims(iss=...)),
    "expired": lambda: token(claims(expires_in=-6)),
    "no expiry": lambda: token(claims(exp=...)),
    "an expiry that is none": lambda: token(claims(exp="soon")),
    "an infinite expiry": lambda: token(claims(exp=float("inf"))),
    "not yet valid": lambda: token(claims(nbf=claims(60)["exp"])),
    "no subject": lambda: token(claims(sub=...)),
    "an empty subject": lambda: token(claims(sub="")),
    "an unknown kid": lambda: token(kid="unknown"),
    "no kid": lambda: token(kid=None),
    "a kid that leads elsewhere": lambda: token(kid="../../../dev/null"),
    "a kid that is no text": lambda: unsigned({"alg": "RS256", "kid": ["rsa"]}, claims()),
    "a critical header": lambda: token(crit=["exp"], exp=1),
    "an unknown critical header": lambda: token(crit=["x"], x=1),
    "a payload of its own form": lambda: token(crit=["b64"], b64=True),
    "a payload that is no object": lambda: unsigned({"alg": "RS256", "kid": "rsa"}, []),
    "a header that is no object": lambda: unsigned([], claims()),
    "a header that is too deep": lambda: unsigned(DEEP, claims()),
    "a number of too many digits": lambda: unsigned(b'{"alg": ' + b"9" * 5_000 + b"}", claims()),
    "two parts": lambda: ".".join(token().split(".")[:2]),
    "five parts": lambda: token() + ".x.y",
    "empty parts": lambda: "..",
    "no base64": lambda: "a.b.c",
    "1 MB": lambda: token() + "x" * 2**20,
}
"""Each made when it is wanted: ten minutes later it has expired, and nothing else about it would matter."""


async def test_tokens_of_all_accepted_algorithms_let_in(gateway: LiveGateway) -> None:
    for algorithm, (kid, key) in KINDS.items():
        text = token(key=key, algorithm=algorithm, kid=kid)
        response = await gateway.http.post("/graphql", json=TYPENAME, headers=bearer(text))
        assert response.status_code == 200, algorithm
        assert costless(response.json()) == {"data": {"__typename": "Query"}}, algorithm


@pytest.mark.parametrize("wrong", list(WRONG))
async def test_whatever_is_wrong_with_a_token_the_answer_is_the_same(
    gateway: LiveGateway, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "jobgate")
    text = WRONG[wrong]()
    if len(text) < 60_000:  # what is longer, the server itself refuses
        response = await gateway.http.post("/graphql", json=TYPENAME, headers=bearer(text))
        assert (response.status_code, response.json()) == (401, {"errors": [REFUSED]})
    async with gateway.socket(initialised=False) as socket:
        if len(text) > 2**20:
            text = text[: 2**20 - 200]  # what is longer is no message
        await socket.send({"type": "connection_init", "payload": bearer(text)})
        assert await socket.closed() == (4403, "Forbidden")
    records = [record for record in caplog.records if record.name == "jobgate.callers"]
    assert {record.levelno for record in records} == {logging.INFO, logging.DEBUG}
    # Whatever is wrong was found: a token that is too old is refused for that, whatever else is wrong with it.
    assert any("xpired" in record.getMessage() for record in records) == (wrong == "expired")
    parts = [part for part in text.split(".") if len(part) > 3]
    assert not [record for record in records if any(part in record.getMessage() for part in parts)]


async def test_the_claims_say_who_it_is_and_what_is_reached(gateway: LiveGateway) -> None:
    caller = await gateway.gateway.callers.who([f"Bearer {token()}"])
    scopes = frozenset({Scope.JOBS_READ, Scope.JOBS_DISPATCH})
    origin = Origin(CredentialKind.TOKEN, issuer=ISSUER)
    assert caller.principal == Principal("ann", scopes, Reach(frozenset({"shop"}), None), "token:ann", origin)
    assert caller.may_lapse
    narrow = token(claims(products=..., envs=..., scope="openid"), key=EC_KEY, algorithm="ES256", kid="ec")
    expected = Principal("ann", frozenset(), Reach(frozenset(), frozenset()), "token:ann", origin)
    assert (await gateway.gateway.callers.who([f"Bearer {narrow}"])).principal == expected


async def test_clocks_may_differ_by_some_seconds(gateway: LiveGateway) -> None:
    await gateway.gateway.callers.who([f"Bearer {token(claims(expires_in=-1))}"])
    await gateway.gateway.callers.who([f"Bearer {token(claims(aud=['other', AUDIENCE]))}"])


async def test_keys_are_good_beside_tokens(gateway: LiveGateway) -> None:
    text = await key_in(gateway.gateway.database)
    assert isinstance(await gateway.gateway.callers.who([f"Bearer {text}"]), Caller)


async def test_a_key_is_refused_where_only_tokens_are_accepted_and_the_other_way_round(
    servers: Servers, mongodb: MongoClient[dict[str, Any]], keys_file: str
) -> None:
    for auth, expected in (("jwt", [401, 200]), ("keys", [200, 401])):
        async with serving_for_all(servers, mongodb, auth=auth, jwt_jwks=keys_file, **JWT) as gateway:
            shown = [await key_in(gateway.gateway.database), token()]
            asked = [await gateway.http.post("/graphql", json=TYPENAME, headers=bearer(text)) for text in shown]
            assert [response.status_code for response in asked] == expected


async def test_the_names_of_claims_and_the_algorithms_are_settings(
    servers: Servers, mongodb: MongoClient[dict[str, Any]], keys_file: str
) -> None:
    settings = {"jwt_algorithms": "RS512", "jwt_products_claim": "p", "jwt_envs_claim": "https://example.com/e"}
    async with serving_for_all(servers, mongodb, auth="jwt", jwt_jwks=keys_file, **JWT, **settings) as gateway:
        text = token(claims() | {"p": "*", "https://example.com/e": ["prd"]}, algorithm="RS512")
        caller = await gateway.gateway.callers.who([f"Bearer {text}"])
        assert caller.principal.reach == Reach(None, frozenset({"prd"}))
        assert (await gateway.http.post("/graphql", json=TYPENAME, headers=bearer(token()))).status_code == 401


async def test_a_key_that_is_too_short_signs_nothing(
    servers: Servers, mongodb: MongoClient[dict[str, Any]], tmp_path: Path
) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # that is what it is about
    jwk = jwt.algorithms.RSAAlgorithm.to_jwk(short.public_key(), as_dict=True)
    file = tmp_path / "short.json"
    file.write_text(json.dumps({"keys": [{**jwk, "kid": "rsa"}]}))
    header, payload = ({"alg": "RS256", "kid": "rsa"}, claims())
    signing = unsigned(header, payload).rpartition(".")[0]
    signature = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256).sign(signing.encode(), short)
    text = f"{signing}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"
    async with serving_for_all(servers, mongodb, auth="jwt", jwt_jwks=str(file), **JWT) as gateway:
        assert (await gateway.http.post("/graphql", json=TYPENAME, headers=bearer(text))).status_code == 401


async def test_the_corpus_is_wrong_in_one_thing_each() -> None:
    """What it is made from is right."""
    options = {"algorithms": ["RS256"], "audience": AUDIENCE, "issuer": ISSUER}
    assert jwt.decode(token(), RSA_KEY.public_key(), **options)["sub"] == "ann"  # type: ignore[arg-type]
