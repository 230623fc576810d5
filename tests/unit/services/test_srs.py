"""Rewritten reverse-paths find back, and nobody else makes one."""

from __future__ import annotations

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from mailcore.errors import AddressNotFound
from mailcore.model.ids import UserId
from mailcore.services.inbound import srs
from mailcore.services.inbound.srs import (
    DAY_S,
    EXPIRES_DAYS,
    LONGEST_LOCAL_PART,
    Srs,
    referenced,
    sender_behind,
    user_reference,
)

USER = UserId(ObjectId("6566f1d2a1b2c3d4e5f60718"))
NOW = 1_790_000_000.0
OURS = Srs("mx.here.test", lambda: b"k" * 32, lambda: NOW)
THEIRS = Srs("relay.there.test", lambda: b"t" * 32, lambda: NOW)

paths = st.builds(
    "{}@{}".format,
    st.from_regex(r"[a-zA-Z0-9+=._-]{1,12}", fullmatch=True),
    st.sampled_from(["a.test", "sub.example.org", "X.test"]),
)


@given(path=paths)
def test_what_is_rewritten_comes_back_whatever_becomes_of_its_case(path: str) -> None:
    rewritten = OURS.rewrite(path, USER)
    if rewritten is None:
        return
    assert len(rewritten.rpartition("@")[0]) <= LONGEST_LOCAL_PART
    restored = OURS.restore(rewritten)
    assert restored is not None
    if not path.lower().startswith(("srs0=", "srs1=")):
        assert restored.address == path
    assert restored.user_reference == user_reference(USER)
    folded = OURS.restore(rewritten.lower())
    assert folded is not None
    assert folded.address == restored.address.lower()


def test_reference_names_the_user_among_those_of_its_second() -> None:
    low, high = referenced(user_reference(USER))
    assert low < USER < high
    assert user_reference(USER)[4:] == USER.binary[-3:]


def test_the_null_reverse_path_stays_null() -> None:
    assert OURS.rewrite("", USER) == ""


def test_a_path_that_was_ours_is_not_nested() -> None:
    once = OURS.rewrite("ada@a.test", USER)
    assert once is not None
    assert OURS.rewrite(once, USER) == once


def test_bounce_of_a_path_rewritten_elsewhere_goes_to_whoever_rewrote_it_first() -> None:
    """SRS1, however many hops: the local part grows once and no more."""
    first = THEIRS.rewrite("a@b.test", USER)
    assert first is not None
    long = OURS.rewrite(first, USER)
    restored = OURS.restore(long) if long is not None else None
    assert restored is None or restored.address.lower() == first.lower()
    short = OURS.rewrite("SRS0=abcd=ef=b.test=a@r.test", USER)
    assert short is not None
    restored = OURS.restore(short)
    assert restored is not None
    assert restored.address == "SRS0=abcd=ef=b.test=a@r.test"
    onward = OURS.rewrite("SRS1=wxyz=r.test==abcd=ef=b.test=a@middle.test", USER)
    assert onward is not None
    restored = OURS.restore(onward)
    assert restored is not None
    assert restored.address == "SRS0=abcd=ef=b.test=a@r.test"


def test_a_path_too_long_is_left_to_the_caller() -> None:
    assert OURS.rewrite("x" * 40 + "@a.test", USER) is None


@pytest.mark.parametrize(
    "address", ["ada@mx.here.test", "SRS0=x@elsewhere.test", "srs@mx.here.test", "SRS2=a@mx.here.test"]
)
def test_other_addresses_are_none_of_these(address: str) -> None:
    assert OURS.restore(address) is None


def forged(address: str) -> bool:
    try:
        OURS.restore(address)
    except AddressNotFound:
        return True
    return False


def check_forging() -> None:
    good = OURS.rewrite("ada@a.test", USER)
    assert good is not None
    local = good.rpartition("@")[0]
    for at in range(5, len(local)):
        if local[at] != "=":
            other = local[:at] + ("b" if local[at] != "b" else "c") + local[at + 1 :]
            assert forged(f"{other}@mx.here.test"), other
    assert forged("SRS0=aaaa=bb=a.test=ada@mx.here.test")
    assert forged("SRS1=" + local[5:] + "@mx.here.test")
    assert forged("SRS0=@mx.here.test")


def test_one_letter_changed_is_nobodys() -> None:
    """M10: no open door to send mail through."""
    check_forging()


def test_hash_that_nobody_compares_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(srs.hmac, "compare_digest", lambda *_: True)
    with pytest.raises(AssertionError):
        check_forging()


def test_an_old_one_is_nobodys() -> None:
    made = OURS.rewrite("ada@a.test", USER)
    assert made is not None
    for days, is_old in ((EXPIRES_DAYS, False), (EXPIRES_DAYS + 1, True), (1000, True), (-2, True)):
        later = Srs("mx.here.test", lambda: b"k" * 32, lambda days=days: NOW + days * DAY_S)  # type: ignore[misc]
        try:
            later.restore(made)
        except AddressNotFound:
            assert is_old, days
        else:
            assert not is_old, days


@pytest.mark.parametrize(
    ("reverse_path", "sender"),
    [
        ("ada@a.test", "ada@a.test"),
        ("SRS0=abcd=ef=a.test=ada@r.test", "ada@a.test"),
        ("srs0+abcd=ef=a.test=ada=x@r.test", "ada=x@a.test"),
        ("SRS1=wxyz=r.test==abcd=ef=a.test=ada@s.test", "ada@a.test"),
        ("prvs=1234abcdef=ada@a.test", "ada@a.test"),
        ("SRS0=nonsense@r.test", "SRS0=nonsense@r.test"),
        ("", ""),
    ],
)
def test_who_is_behind_a_path_that_changes_every_day(reverse_path: str, sender: str) -> None:
    assert sender_behind(reverse_path) == sender


def test_who_is_behind_a_path_of_ours() -> None:
    made = OURS.rewrite("ada@a.test", USER)
    assert made is not None
    assert sender_behind(made) == "ada@a.test"
