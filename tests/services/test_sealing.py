"""What is sealed opens for its purpose, with any key the settings still have, and never changed."""

from __future__ import annotations

import pytest

from mailcore.model.secret import Secret
from mailcore.services.trust.sealing import SealBroken, Sealing

ONE, TWO = Secret(bytes(32)), Secret(bytes(range(32)))


def test_sealed_opens_and_does_not_show() -> None:
    sealing = Sealing({1: ONE})
    sealed = sealing.seal("tenant.key:1", b"canary")
    assert b"canary" not in sealed
    assert sealed != sealing.seal("tenant.key:1", b"canary")
    assert sealing.open("tenant.key:1", sealed) == b"canary"


def test_another_purpose_does_not_open_it() -> None:
    sealing = Sealing({1: ONE})
    with pytest.raises(SealBroken):
        sealing.open("tenant.key:2", sealing.seal("tenant.key:1", b"canary"))


def test_any_changed_byte_is_noticed() -> None:
    sealing = Sealing({1: ONE})
    sealed = sealing.seal("x", b"canary")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            sealing.open("x", bytes(changed))
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            sealing.open("x", sealed[:length])


def test_keys_rotate_while_old_seals_open() -> None:
    old = Sealing({1: ONE}).seal("x", b"canary")
    both = Sealing({1: ONE, 2: TWO})
    assert both.open("x", old) == b"canary"
    assert not both.is_current(old)
    assert both.is_current(both.seal("x", b"canary"))
    with pytest.raises(SealBroken):
        Sealing({2: TWO}).open("x", old)
