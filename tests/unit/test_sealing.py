"""Secrets at rest: of no use without the key, nor in another document."""

import os

import pytest

from storage.sealing import NO_KEYS, CannotOpen, NotSealed, Sealer

OLD, NEW = os.urandom(32), os.urandom(32)


def test_what_was_sealed_can_be_opened_and_is_not_to_be_read() -> None:
    sealed = Sealer([OLD]).seal(b"a secret of some length", "wh_1")
    assert Sealer([OLD]).open(sealed, "wh_1") == b"a secret of some length"
    assert b"secret" not in sealed["sealed"]
    assert OLD.hex()[:12] != sealed["key"]


def test_twice_the_same_secret_looks_different() -> None:
    sealer = Sealer([OLD])
    assert sealer.seal(b"same", "wh_1")["sealed"] != sealer.seal(b"same", "wh_1")["sealed"]


def test_a_secret_is_bound_to_its_document() -> None:
    sealer = Sealer([OLD])
    with pytest.raises(CannotOpen):
        sealer.open(sealer.seal(b"secret", "wh_1"), "wh_2")


def test_an_altered_secret_does_not_open() -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal(b"secret", "wh_1")
    whole = sealed["sealed"]
    with pytest.raises(CannotOpen):
        sealer.open({**sealed, "sealed": whole[:-1] + bytes([whole[-1] ^ 1])}, "wh_1")


def test_a_key_is_replaced_while_the_old_one_still_opens() -> None:
    before = Sealer([OLD]).seal(b"secret", "wh_1")
    both = Sealer([NEW, OLD])
    assert both.open(before, "wh_1") == b"secret"
    after = both.seal(b"secret", "wh_1")
    assert Sealer([NEW]).open(after, "wh_1") == b"secret"
    with pytest.raises(CannotOpen, match="there is no key"):
        Sealer([NEW]).open(before, "wh_1")


def test_without_a_key_nothing_is_sealed() -> None:
    assert not NO_KEYS.can_seal
    with pytest.raises(NotSealed):
        NO_KEYS.seal(b"secret", "wh_1")
