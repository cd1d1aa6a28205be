"""Inputs without their secrets, and jobs that are made of them."""

from __future__ import annotations

from functools import partial
from time import thread_time
from typing import Any, Final

import pytest

from jobs.dispatch import TaskTerms, new_job
from jobs.errors import InvalidInput, Issue
from jobs.input_schemas import schema_text
from jobs.job import Job
from jobs.json_values import JsonValue
from jobs.secret_inputs import MASK, NoSuchPlace, masked, value_at, with_value
from jobs.secret_places import secret_places
from storage.documents import job_from_document, job_to_document
from storage.sealing import NO_KEYS, Sealer
from storage.secret_inputs import InputSecrets, SecretUnreadable
from tests.factories import NOW, make_request

KEY: Final = b"k" * 32
SECRETS: Final = InputSecrets(Sealer([KEY]))
TERMS: Final = TaskTerms(
    input_schema=schema_text(
        {
            "properties": {
                "password": {"type": "string", "writeOnly": True, "minLength": 3},
                "pins": {"items": {"writeOnly": True}},
            }
        }
    )
)
GIVEN: Final = {"user": "ann", "password": "hunter2", "pins": [1234, {"b": 1, "a": 2}]}
SHOWN: Final = {"user": "ann", "password": MASK, "pins": [MASK, MASK]}


def made(value: JsonValue, job_id: str = "job_1", secrets: InputSecrets | None = SECRETS, **changes: Any) -> Job:
    seal = None if secrets is None else secrets.seal
    request = make_request(input=value, **changes)
    return new_job(request, TERMS, job_id=job_id, now=NOW, path=("input",), seal=seal)


def complaints(value: JsonValue, secrets: InputSecrets | None = SECRETS) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as refused:
        made(value, secrets=secrets)
    return [(".".join(issue.path), issue.message) for issue in refused.value.issues]


def test_a_job_holds_no_secret_and_gives_all_of_them_back() -> None:
    job = job_from_document(job_to_document(made(GIVEN)))
    assert job.input == SHOWN
    assert SECRETS.whole_input(job) == GIVEN
    assert job.input == SHOWN
    assert "hunter2" not in str(job_to_document(job))
    assert "sealed" not in repr(job)


def test_a_job_without_secrets_has_no_field_for_them() -> None:
    job = made({"user": "ann"})
    assert "secrets" not in job_to_document(job)
    assert InputSecrets(NO_KEYS).whole_input(job) == {"user": "ann"}


def test_a_request_does_not_show_what_it_holds() -> None:
    assert "hunter2" not in repr(make_request(input=GIVEN))


def test_without_a_key_a_secret_is_refused_and_its_field_named() -> None:
    message = "is secret and cannot be kept so: JOBGATE_SECRET_KEYS is not set in this installation"
    assert complaints({"password": "hunter2", "pins": [1]}, None) == [
        ("input.input.password", message),
        ("input.input.pins.0", message),
    ]
    assert made({"user": "ann"}, secrets=None).input == {"user": "ann"}


def test_what_is_shown_in_place_of_a_secret_is_not_taken_for_one() -> None:
    message = "is what is shown in place of a secret, not the secret"
    assert complaints({"password": MASK}) == [("input.input.password", message)]


def test_an_input_has_a_hundred_secrets_at_most() -> None:
    assert len(made({"pins": [1] * 100}).secrets) == 100
    for count in (101, 50_000):
        assert complaints({"pins": [1] * count}) == [("input.input", "has more than the 100 secrets allowed")]


def test_the_names_that_lead_to_a_secret_are_stored_with_it_and_so_not_long() -> None:
    terms = TaskTerms(input_schema=schema_text({"patternProperties": {"": {"items": {"writeOnly": True}}}}))
    make = partial(new_job, terms=terms, job_id="job_1", now=NOW, path=("input",), seal=SECRETS.seal)
    assert len(make(make_request(input={"n" * 999: ["x"]})).secrets) == 1
    # A number as well, which could not be understood if it came to stand for an item.
    for name in ("n" * 1000, "9" * 5000):
        with pytest.raises(InvalidInput) as refused:
            make(make_request(input={name: ["hunter2"]}))
        message = "is secret, and the names that lead to it have more than 1000 characters together"
        assert refused.value.issues == (Issue(("input", "input", name[:200], "0"), message),)


def test_a_schema_whose_secrets_could_not_be_kept_takes_no_input() -> None:
    terms = TaskTerms(input_schema='{"writeOnly": true}')
    with pytest.raises(
        InvalidInput, match=r"input\.input: cannot be taken: the task's schema has writeOnly at the top"
    ):
        new_job(make_request(), terms, job_id="job_1", now=NOW, path=("input",), seal=SECRETS.seal)


def test_a_secret_that_was_copied_does_not_open_and_is_named_without_its_value() -> None:
    job, other = made(GIVEN), made(GIVEN, "job_2")
    document, foreign = job_to_document(job), job_to_document(other)
    document["secrets"][0] = foreign["secrets"][0]
    with pytest.raises(SecretUnreadable, match=r"the secret input\.password cannot be opened: the secret was altered"):
        SECRETS.whole_input(job_from_document(document))
    document = job_to_document(job)
    # Within the job as well, from one place to another.
    document["secrets"][1]["place"], document["secrets"][2]["place"] = ["pins", "1"], ["pins", "0"]
    with pytest.raises(SecretUnreadable, match=r"input\.pins\.1 "):
        SECRETS.whole_input(job_from_document(document))


def test_a_secret_without_its_key_or_its_place_is_told() -> None:
    job = made({"password": "hunter2"})
    for secrets in (InputSecrets(NO_KEYS), InputSecrets(Sealer([b"o" * 32]))):
        with pytest.raises(SecretUnreadable, match=r"there is no key [0-9a-f]{12} among JOBGATE_SECRET_KEYS"):
            secrets.whole_input(job)
    document = job_to_document(job) | {"input": {}}
    with pytest.raises(SecretUnreadable, match="has no such field any more"):
        SECRETS.whole_input(job_from_document(document))


def test_the_hash_of_a_request_does_not_tell_its_secrets() -> None:
    hashes = {
        job.idempotency.request_hash
        for password in ("hunter2", "hunter3")
        if (job := made({"password": password}, idempotency_key="k")).idempotency is not None
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("place", [("b",), ("a", "1"), ("a", "-1"), ("a", "x"), ("a", "0", "x"), ("a", "²")])
def test_a_place_that_is_not_there_is_told(place: tuple[str, ...]) -> None:
    value = {"a": [1]}
    with pytest.raises(NoSuchPlace):
        value_at(value, place)
    with pytest.raises(NoSuchPlace):
        with_value(value, place, 2)


def test_of_many_items_none_takes_its_own_time() -> None:
    value: JsonValue = {"pins": [{"pin": 1}] * 100 + [1] * 119_000}
    schema = schema_text({"properties": {"pins": {"items": {"properties": {"pin": {"writeOnly": True}}}}}})
    began = thread_time()
    places = list(secret_places(schema, value))
    assert thread_time() - began < 1
    assert len(places) == 100
    began = thread_time()
    shown = masked(value, places)
    assert thread_time() - began < 1
    assert shown["pins"] == [{"pin": MASK}] * 100 + [1] * 119_000


def test_masking_changes_a_copy() -> None:
    value = {"a": [1, {"b": 2}], "c": 3}
    assert masked(value, [("a", "1", "b"), ("c",)]) == {"a": [1, {"b": MASK}], "c": MASK}
    assert value == {"a": [1, {"b": 2}], "c": 3}
