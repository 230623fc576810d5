"""Fields that only our filter may write: read where they are its own, gone where they are not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailcore.message import verdict_fields
from mailcore.message.headers import header_size
from mailcore.message.verdict_fields import is_of_hop, read_verdict, without_forged
from mailcore.model.verdict import SPAM_SCORE, Verdict

US = "mx.eider.test"
PLAIN = b"Received: from a by b\r\nFrom: a@example.org\r\nSubject: x-spam: no\r\n\r\nX-Spam: Yes\r\n"


def test_a_message_that_claims_nothing_stays_the_same_object() -> None:
    assert without_forged(PLAIN, US) is PLAIN


OURS = [
    pytest.param(b"Authentication-Results: mx.eider.test; spf=pass", id="plain"),
    pytest.param(b"AUTHENTICATION-RESULTS:MX.EIDER.TEST 1; spf=pass", id="case-and-version"),
    pytest.param(b"Authentication-Results : mx.eider.test;spf=pass", id="blank-before-colon"),
    pytest.param(b"Authentication-Results:\r\n\tmx.eider.test;\r\n spf=pass", id="folded"),
    pytest.param(b"Authentication-Results: (a (nested\\)) comment) mx.eider.test; none", id="comment"),
    pytest.param(b'Authentication-Results: "mx.eider.test"; none', id="quoted"),
    pytest.param(b'Authentication-Results: "mx.eider\\.test"; none', id="quoted-pair"),
    pytest.param(b"Authentication-Results: mx.eider.test.; none", id="trailing-dot"),
    pytest.param(b"Authentication-Results: (never ends mx.other.test; none", id="open-comment"),
    pytest.param(b"Authentication-Results:", id="empty"),
    pytest.param(b'Authentication-Results: "mx.eider.test', id="open-quotes"),
    pytest.param(b"X-Spam: No", id="x-spam"),
    pytest.param(b"X-Spam-Flag: NO", id="flag"),
    pytest.param(b"x-spam-status: No, score=-100", id="status"),
    pytest.param(b"X-Spamd-Result: default: False [-100.00 / 15.00];\r\n\tWHITELISTED(-100.00)[]", id="rspamd"),
    pytest.param(b"X-Spamd-Bar: ----", id="bar"),
    pytest.param(b"X-Rspamd-Queue-Id: abc", id="queue-id"),
    pytest.param(b"X-Rspamd-Action : no action", id="action"),
]
OTHERS = [
    pytest.param(b"Authentication-Results: mx.other.test; spf=pass smtp.mailfrom=mx.eider.test", id="another"),
    pytest.param(b"Authentication-Results: (mx.eider.test) mx.other.test; none", id="named-in-a-comment"),
    pytest.param(b"Authentication-Results: amx.eider.test; none", id="longer-name"),
    pytest.param(b"ARC-Authentication-Results: i=1; mx.eider.test; spf=pass", id="arc"),
    pytest.param(b"Old-Authentication-Results: mx.eider.test; spf=pass", id="old"),
    pytest.param(b"Subject: a\r\n X-Spam-Flag: NO", id="within-a-fold"),
]


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("field", OURS)
def test_what_claims_to_be_ours_goes_and_nothing_else(field: bytes, where: int) -> None:
    """Attack M7; RFC 8601 §5."""
    lines = [b"From: a@example.org", b"Subject: hi\r\n there"]
    raw = b"\r\n".join((*lines[:where], field, *lines[where:], b"", b"X-Spam: body"))
    assert without_forged(raw, US) == b"\r\n".join((*lines, b"", b"X-Spam: body"))


@pytest.mark.parametrize("field", OTHERS)
def test_what_claims_to_be_anothers_stays(field: bytes) -> None:
    raw = field + b"\r\nFrom: a@example.org\r\n\r\nbody"
    assert without_forged(raw, US) == raw


def test_fields_that_nobody_takes_out_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control."""
    monkeypatch.setattr(verdict_fields, "claims", lambda *_: False)
    with pytest.raises(AssertionError):
        test_what_claims_to_be_ours_goes_and_nothing_else(b"Authentication-Results: mx.eider.test; spf=pass", 0)


@pytest.mark.parametrize("raw", [b"", b"\r\n", b"X-Spam: Yes", b"X-Spam: Yes\n\nbody", b"\r\nX-Spam: Yes\r\n\r\n"])
def test_odd_ends(raw: bytes) -> None:
    header = raw[: header_size(raw)]
    left = without_forged(raw, US)
    assert b"X-Spam" not in left[: header_size(left)]
    assert left.endswith(raw[len(header) :])


@given(
    st.lists(
        st.sampled_from(
            [b"X-Spam-Flag: NO", b"Authentication-Results: ", b"mx.eider.test", b"(", b")", b'"', b"\\", b";", b" ",
             b"\t", b"\r\n", b"\n", b"\r", b"\x00", b":", b"From: x"]
        ),
        max_size=25,
    ).map(b"".join)
)  # fmt: skip
@settings(max_examples=500, deadline=None)
def test_any_header(raw: bytes) -> None:
    """Once is enough, and the body is never touched."""
    once = without_forged(raw, US)
    assert without_forged(once, US) == once
    assert read_verdict(once[: header_size(once)]) is None
    assert once.endswith(raw[header_size(raw) :])


VERDICTS = [
    pytest.param(
        b"X-Spamd-Result: default: False [1.50 / 15.00];\r\n\tR_SPF_ALLOW(-0.20)[+a];\r\n\tBAD_ONE(1.70)[]\r\n"
        b"X-Spam-Status: No, score=1.50\r\n",
        Verdict(1.5, False, symbols=("R_SPF_ALLOW", "BAD_ONE")),
        id="rspamd",
    ),
    pytest.param(b"X-Spamd-Result: default: True [99.00 / 15.00]\r\n", Verdict(99.0, True), id="rejected"),
    pytest.param(b"X-Spamd-Result: default: False [7.25 / 15.00]\r\n", Verdict(7.25, True), id="only-result"),
    pytest.param(b"X-Spam-Status: Yes, score=6.10\r\n", Verdict(6.1, True), id="only-status"),
    pytest.param(b"X-Spam-Status: No, hits=2 score=-3 required=5\r\n", Verdict(-3.0, False), id="spamassassin"),
    pytest.param(b"X-Spam-Status: yes\r\n", Verdict(0.0, True), id="no-score"),
    pytest.param(b"X-Spam-Status: Unchecked\r\n", None, id="unchecked"),
    pytest.param(b"X-Spamd-Result: default: maybe [nan / inf]\r\n", None, id="junk"),
    pytest.param(b"From: a@example.org\r\n", None, id="nothing"),
]


@pytest.mark.parametrize(("header", "verdict"), VERDICTS)
def test_verdicts_are_read(header: bytes, verdict: Verdict | None) -> None:
    assert read_verdict(header) == verdict


def test_the_hops_own_fields_carry_its_queue_id() -> None:
    header = b"X-Rspamd-Queue-Id: 4XyZ\r\n"
    assert is_of_hop(header, "4XyZ")
    assert not is_of_hop(header, "4Xyz")
    assert not is_of_hop(header, None)
    assert not is_of_hop(header * 2, "4XyZ")
    assert not is_of_hop(b"From: a\r\n", "")


LEVELS = [
    (0, -100.0, False, True),
    (100, 100.0, True, False),
    (50, 6.0, True, True),
    (50, 7.0, False, False),
    (25, SPAM_SCORE / 2, False, True),
    (25, SPAM_SCORE / 2 - 0.01, False, False),
    (49, 1.0, True, True),
    (75, SPAM_SCORE * 2, True, True),
    (75, SPAM_SCORE * 2 - 0.01, True, False),
    (75, 30.0, False, False),
    (99, 299.0, True, False),
    (1, 0.12, False, True),
]


@pytest.mark.parametrize(("level", "score", "is_spam", "is_junk"), LEVELS)
def test_levels(level: int, score: float, is_spam: bool, is_junk: bool) -> None:
    assert Verdict(score, is_spam).is_junk(level) is is_junk


def test_a_higher_level_never_takes_more_for_junk() -> None:
    for score in (-5.0, 0.0, 3.0, 6.0, 11.9, 12.0, 40.0):
        for is_spam in (True, False):
            said = [Verdict(score, is_spam).is_junk(level) for level in range(101)]
            assert said == sorted(said, reverse=True)
