"""Messages signed as Standard Webhooks asks, judged by its own verifier."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from jobs.standard_webhooks import BadSecret, new_secret, secret_from_text, secret_to_text, signed_headers

BODY = json.dumps({"event": "job.completed", "name": "Jürgen"}, ensure_ascii=False).encode()


def now() -> datetime:
    """The verifier refuses what is older than five minutes by the clock on the wall."""
    return datetime.now(UTC)


def verifier(secret: bytes) -> Webhook:
    return Webhook(secret_to_text(secret))


def test_the_receiver_accepts_what_was_signed_with_its_secret() -> None:
    secret = new_secret()
    headers = signed_headers("dlv_1", now(), BODY, [secret])
    assert verifier(secret).verify(BODY, dict(headers)) == json.loads(BODY)
    assert headers["webhook-id"] == "dlv_1"


def test_while_a_secret_is_replaced_both_accept() -> None:
    old, new, strange = new_secret(), new_secret(), new_secret()
    headers = dict(signed_headers("dlv_1", now(), BODY, [new, old]))
    for secret in (old, new):
        verifier(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError):
        verifier(strange).verify(BODY, headers)


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp", "body"])
def test_nothing_that_was_signed_can_be_changed(changed: str) -> None:
    secret = new_secret()
    headers, body = dict(signed_headers("dlv_1", now(), BODY, [secret])), BODY
    if changed == "body":
        body = BODY.replace(b"completed", b"failed")
    elif changed == "webhook-id":
        headers[changed] = "dlv_2"
    else:
        headers[changed] = str(int(headers[changed]) + 1)
    with pytest.raises(WebhookVerificationError):
        verifier(secret).verify(body, headers)


def test_an_old_message_is_refused() -> None:
    secret = new_secret()
    headers = signed_headers("dlv_1", now() - timedelta(minutes=6), BODY, [secret])
    with pytest.raises(WebhookVerificationError):
        verifier(secret).verify(BODY, dict(headers))


@given(st.binary(min_size=24, max_size=64))
def test_a_secret_survives_being_written(secret: bytes) -> None:
    assert secret_from_text(secret_to_text(secret)) == secret


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "secret",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_c2hvcnQ=",
        "whsec_" + "A" * 31,
        "whsec_" + "A" * 200,
        "whsec_" + "A" * 31 + "!",
        "whsec_" + "ä" * 32,
    ],
)
def test_what_is_no_secret_is_refused(text: str) -> None:
    with pytest.raises(BadSecret, match="whsec_ and 24 to 64 bytes in base64"):
        secret_from_text(text)
