"""The dialogue: order of commands, cuts, limits, STARTTLS, draining."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailcore.errors import OverQuota, StoreUnavailable
from mailcore.model.actions import Peer, Tls
from mailcore.smtp.connection import SmtpConnection
from tests.unit.smtp.collecting import Collecting, Dialogue, codes

TLS = Tls("TLSv1.3", "TLS_AES_256_GCM_SHA384")

WHOLE = (
    b"LHLO peer.test\r\nNOOP\r\nMAIL FROM:<f@y.test> SIZE=5\r\nRCPT TO:<a@x.test>\r\nRCPT TO:<c@x.test>\r\n"
    b"RCPT TO:<b@x.test>\r\nDATA\r\nSubject: 1\r\n\r\n..dot\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<b@x.test>\r\n"
    b"BDAT 7\r\nSubjectBDAT 8 LAST\r\n: 2\r\n\r\n\nRSET\r\nVRFY x\r\nQUIT\r\n"
)
WHOLE_CODES = [
    "250 CHUNKING", "250 2.0.0", "250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "354 End", "250 2.0.0",
    "250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.0.0", "250 2.0.0", "250 2.0.0", "252 2.0.0", "221 2.0.0",
]  # fmt: skip


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_a_dialogue_reads_the_same_however_it_is_cut(size: int) -> None:
    dialogue = Dialogue(Collecting(is_trusting=False))
    assert codes(dialogue.say_in_pieces(WHOLE, size)) == WHOLE_CODES
    assert dialogue.policy.messages == [b"Subject: 1\r\n\r\n.dot\r\n", b"Subject: 2\r\n\r\n\n"]
    assert dialogue.is_closed


def test_a_dialogue_reads_the_same_cut_in_two_at_every_octet() -> None:
    for cut in range(len(WHOLE) + 1):
        dialogue = Dialogue(Collecting(is_trusting=False))
        sent = dialogue.say(WHOLE[:cut])
        if cut < len(WHOLE):
            sent += dialogue.say(WHOLE[cut:])
        assert codes(sent) == WHOLE_CODES
        assert len(dialogue.policy.messages) == 2


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"MAIL FROM:<a@x.test>", "503 5.5.1"),
        (b"RCPT TO:<a@x.test>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
        (b"EHLO x.test", "500 5.5.1"),
        (b"HELO x.test", "500 5.5.1"),
        (b"LHLO", "501 5.5.4"),
        (b"LHLO a\x01b", "501 5.5.4"),
        (b"LHLO a b<script>", "250 XFORWARD"),
        (b"STARTTLS", "502 5.5.1"),
        (b"EXPN list", "502 5.5.1"),
        (b"VRFY", "501 5.5.4"),
        (b"AUTH PLAIN x", "500 5.5.1"),
        (b"", "500 5.5.2"),
        (b"\xff\xfe", "500 5.5.2"),
        (b"NOOP any words", "250 2.0.0"),
        (b"HELP MAIL", "214 2.0.0"),
        (b"RSET now", "501 5.5.4"),
        (b"QUIT now", "501 5.5.4"),
        (b"NOOP " + b"x" * 4096, "500 5.5.6"),
    ],
)
def test_replies_before_a_greeting(line: bytes, expected: str) -> None:
    dialogue = Dialogue()
    sent = dialogue.say(line + b"\r\nNOOP\r\n")
    assert codes(sent)[0].startswith(expected)
    assert codes(sent)[-1] == "250 2.0.0", "the next command is read as one"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"MAIL FROM:<a@x.test>", "250 2.1.0"),
        (b"mail from:<>", "250 2.1.0"),
        (b"MAIL FROM:<a@x.test> SIZE=10000 BODY=8bitmime SMTPUTF8", "250 2.1.0"),
        (b"MAIL FROM:<a@x.test> SIZE=10001", "552 5.3.4"),
        (b"MAIL FROM:<a@x.test> SIZE=99999999999999999999", "552 5.3.4"),
        (b"MAIL FROM:<a@x.test> SIZE=x", "501 5.5.2"),
        (b"MAIL FROM:<a@x.test> BODY=BINARYMIME", "501 5.5.4"),
        (b"MAIL FROM:<a@x.test> RET=HDRS", "555 5.5.4"),
        (b"MAIL FROM:<a@x.test> SMTPUTF8=1", "501 5.5.2"),
        (b"MAIL FROM: <a@x.test>", "501 5.1.3"),
        (b"MAIL FROM:a@x.test", "501 5.1.3"),
        (b"MAIL a@x.test", "501 5.5.4"),
        ("MAIL FROM:<ä@x.test>".encode(), "553 5.6.7"),
        ("MAIL FROM:<ä@x.test> SMTPUTF8".encode(), "250 2.1.0"),
        (b"MAIL FROM:<\xe4@x.test> SMTPUTF8", "501 5.1.3"),
        (b"RCPT TO:<a@x.test>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
    ],
)
def test_mail(line: bytes, expected: str) -> None:
    dialogue = Dialogue()
    dialogue.say(b"LHLO peer.test\r\n")
    assert codes(dialogue.say(line + b"\r\n")) == [expected]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"RCPT TO:<a@x.test>", "250 2.1.5"),
        (b"RCPT TO:<@relay.test:a@x.test>", "250 2.1.5"),
        (b"RCPT TO:<Postmaster>", "250 2.1.5"),
        (b"RCPT TO:<nobody@x.test>", "550 5.1.1"),
        (b"RCPT TO:<>", "501 5.1.3"),
        (b"RCPT TO:<a@x.test> NOTIFY=NEVER", "555 5.5.4"),
        ("RCPT TO:<ä@x.test>".encode(), "553 5.6.7"),
        (b"MAIL FROM:<b@x.test>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
        (b"XFORWARD NAME=x", "503 5.5.1"),
    ],
)
def test_rcpt(line: bytes, expected: str) -> None:
    dialogue = Dialogue()
    dialogue.say(b"LHLO peer.test\r\nMAIL FROM:<f@y.test>\r\n")
    assert codes(dialogue.say(line + b"\r\n")) == [expected]


def test_data_without_a_valid_recipient_is_503() -> None:
    """RFC 2033 §4.2."""
    dialogue = Dialogue()
    dialogue.say(b"LHLO peer.test\r\nMAIL FROM:<f@y.test>\r\nRCPT TO:<no@x.test>\r\n")
    assert codes(dialogue.say(b"DATA\r\n")) == ["503 5.5.1"]
    assert codes(dialogue.say(b"NOOP\r\n")) == ["250 2.0.0"], "no message was read"


def test_one_recipient_too_many_is_452() -> None:
    dialogue = Dialogue()
    dialogue.begin("a@x.test", "b@x.test", "a@x.test", "b@x.test", "a@x.test")
    assert codes(dialogue.say(b"RCPT TO:<b@x.test>\r\n")) == ["452 4.5.3"]
    assert codes(dialogue.say(b"DATA\r\n.\r\n"))[1:] == ["250 2.0.0"] * 5


def test_each_recipient_has_its_own_reply() -> None:
    policy = Collecting(failures={"full@x.test": OverQuota(), "away@x.test": StoreUnavailable()})
    dialogue = Dialogue(policy)
    dialogue.begin("a@x.test", "full@x.test", "away@x.test", "b@x.test")
    assert codes(dialogue.say(b"DATA\r\nx\r\n.\r\n"))[1:] == ["250 2.0.0", "452 4.2.2", "451 4.3.0", "250 2.0.0"]


def test_a_fault_of_ours_is_451_for_all_that_are_left() -> None:
    dialogue = Dialogue(Collecting(failures={"bug@x.test": ZeroDivisionError("secret text")}))
    dialogue.begin("a@x.test", "bug@x.test", "b@x.test")
    sent = dialogue.say(b"DATA\r\nx\r\n.\r\nNOOP\r\n")
    assert codes(sent)[1:] == ["250 2.0.0", "451 4.3.0", "451 4.3.0", "250 2.0.0"]
    assert b"secret" not in sent


def test_a_fault_of_ours_in_a_command_is_451_and_the_dialogue_goes_on() -> None:
    dialogue = Dialogue(Collecting(failures={"rcpt@x.test": ZeroDivisionError()}))
    dialogue.say(b"LHLO peer.test\r\nMAIL FROM:<>\r\n")
    assert codes(dialogue.say(b"RCPT TO:<rcpt@x.test>\r\nNOOP\r\n")) == ["451 4.3.0", "250 2.0.0"]


def test_too_large_a_message_is_552_for_each_recipient_and_the_next_one_is_fine() -> None:
    dialogue = Dialogue()
    dialogue.begin("a@x.test", "b@x.test")
    sent = dialogue.say(b"DATA\r\n" + b"x" * 20_000 + b"\r\n.\r\n")
    assert codes(sent)[1:] == ["552 5.3.4", "552 5.3.4"]
    assert dialogue.policy.messages == []
    dialogue.begin("a@x.test")
    assert codes(dialogue.say(b"DATA\r\nx\r\n.\r\n"))[1:] == ["250 2.0.0"]


def test_chunks() -> None:
    """RFC 3030 §2: DATA is not possible after BDAT; octets are read whatever is answered."""
    dialogue = Dialogue()
    dialogue.begin("a@x.test", "b@x.test")
    assert codes(dialogue.say(b"BDAT 4\r\nDATA")) == ["250 2.0.0"]
    assert codes(dialogue.say(b"DATA\r\n")) == ["503 5.5.1"]
    assert codes(dialogue.say(b"RCPT TO:<a@x.test>\r\n")) == ["503 5.5.1"]
    assert codes(dialogue.say(b"BDAT 0 LAST\r\n")) == ["250 2.0.0", "250 2.0.0"]
    assert dialogue.policy.messages == [b"DATA"]
    assert codes(dialogue.say(b"BDAT 6 LAST\r\nQUIT\r\n")) == ["503 5.5.1"], "the chunk is not a command"
    assert not dialogue.is_closed


def test_chunk_over_the_limit_is_552_until_reset() -> None:
    dialogue = Dialogue()
    dialogue.begin("a@x.test", "b@x.test")
    assert codes(dialogue.say(b"BDAT 20000\r\n" + b"x" * 20_000)) == ["552 5.3.4"]
    assert codes(dialogue.say(b"BDAT 1 LAST\r\nx")) == ["552 5.3.4", "552 5.3.4"]
    assert dialogue.policy.messages == []


def test_chunk_whose_size_cannot_be_read_ends_the_connection() -> None:
    """What follows could be taken for commands (attack N3)."""
    for argument in (b"", b"x", b"-1", b"1 LAST x", b"9" * 21, b"1 FIRST"):
        dialogue = Dialogue()
        dialogue.begin()
        sent = dialogue.say(b"BDAT " + argument + b"\r\nRSET\r\nNOOP\r\n")
        assert codes(sent) == ["501 5.5.4"]
        assert dialogue.is_closed


@pytest.mark.parametrize(
    "inside", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n\x00.\r\n"]
)
@pytest.mark.parametrize("is_chunk", [False, True], ids=["DATA", "BDAT"])
def test_smuggled_commands_stay_content(inside: bytes, is_chunk: bool) -> None:
    """Attack N3, in the dialogue and across packet borders."""
    content = b"hello" + inside + b"MAIL FROM:<evil@y.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\nsmuggled"
    wire = b"BDAT %d LAST\r\n%s" % (len(content), content) if is_chunk else b"DATA\r\n" + content + b"\r\n.\r\n"
    for cut in range(len(wire)):
        dialogue = Dialogue()
        dialogue.begin()
        sent = dialogue.say(wire[:cut]) if cut else b""
        sent += dialogue.say(wire[cut:])
        assert codes(sent) == (["250 2.0.0"] if is_chunk else ["354 End", "250 2.0.0"])
        assert len(dialogue.policy.messages) == 1
        assert is_chunk is (dialogue.policy.messages == [content])


def test_command_lines_end_with_crlf_only() -> None:
    dialogue = Dialogue()
    assert codes(dialogue.say(b"NOOP\nNOOP\r\n")) == ["500 5.5.2", "250 2.0.0"]
    assert codes(dialogue.say(b"NO\rOP\r\n")) == ["500 5.5.2"]


def test_endless_line_takes_no_memory() -> None:
    dialogue = Dialogue()
    for _ in range(1000):
        assert dialogue.say(b"x" * 65_536) == b""
    assert len(dialogue.connection._held) == 0
    assert codes(dialogue.say(b"x\r\nNOOP\r\n")) == ["500 5.5.6", "250 2.0.0"]


def test_fifty_mistakes_end_the_connection() -> None:
    dialogue = Dialogue()
    sent = dialogue.say(b"WHAT\r\n" * 60)
    assert codes(sent) == ["500 5.5.1"] * 50 + ["421 4.7.0"]
    assert dialogue.is_closed


def test_greeting_again_drops_the_transaction() -> None:
    """RFC 5321 §4.1.4."""
    dialogue = Dialogue()
    dialogue.begin()
    dialogue.say(b"LHLO other.test\r\n")
    assert codes(dialogue.say(b"DATA\r\n")) == ["503 5.5.1"]


def test_xforward_holds_for_the_next_message_only() -> None:
    dialogue = Dialogue()
    dialogue.say(b"LHLO peer.test\r\n")
    assert codes(dialogue.say(b"XFORWARD NAME=[UNAVAILABLE] IDENT=4Q+2B1 ADDR=192.0.2.9\r\n")) == ["250 2.0.0"]
    dialogue.say(b"XFORWARD HELO=client.test ADDR=[UNAVAILABLE]\r\n")
    for _ in range(2):
        dialogue.say(b"MAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\nDATA\r\nx\r\n.\r\n")
    first, second = (origin for _, _, origin in dialogue.policy.transactions)
    assert dict(first.forwarded) == {"IDENT": "4Q+1", "HELO": "client.test"}
    assert first.queue_id == "4Q+1"
    assert second.queue_id is None


def test_xforward_of_a_stranger_is_refused() -> None:
    dialogue = Dialogue(Collecting(is_trusting=False))
    assert b"XFORWARD" not in dialogue.say(b"LHLO peer.test\r\n")
    assert codes(dialogue.say(b"XFORWARD IDENT=x\r\n")) == ["550 5.7.1"]


@pytest.mark.parametrize("argument", [b"", b"COLOR=red", b"IDENT", b"IDENT=a+0Ab", b"IDENT=" + b"x" * 300, b"IDENT==a"])
def test_bad_xforward_is_501(argument: bytes) -> None:
    dialogue = Dialogue()
    dialogue.say(b"LHLO peer.test\r\n")
    assert codes(dialogue.say(b"XFORWARD " + argument + b"\r\n"))[0].startswith("501")


def test_starttls_forgets_what_was_said_in_clear() -> None:
    """RFC 3207 §4.2."""
    dialogue = Dialogue(offers_tls=True)
    assert b"STARTTLS" in dialogue.say(b"LHLO clear.test\r\n")
    dialogue.begin()
    assert codes(dialogue.say(b"STARTTLS\r\n")) == ["220 2.0.0"]
    assert dialogue.wants_tls
    dialogue.take(dialogue.connection.tls_started(TLS))
    assert codes(dialogue.say(b"RCPT TO:<a@x.test>\r\nMAIL FROM:<>\r\n")) == ["503 5.5.1", "503 5.5.1"]
    assert b"STARTTLS" not in dialogue.say(b"LHLO peer.test\r\n")
    assert codes(dialogue.say(b"STARTTLS\r\n")) == ["503 5.5.1"]
    dialogue.say(b"MAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\nDATA\r\nx\r\n.\r\n")
    assert dialogue.policy.transactions[0][2].with_protocol == "LMTPS"


@pytest.mark.parametrize("behind", [b"NOOP\r\n", b"R", b"\r\n", b"LHLO evil.test\r\nMAIL FROM:<e@y.test>\r\n"])
def test_input_behind_starttls_in_the_same_packet_ends_the_connection(behind: bytes) -> None:
    """Attack N1."""
    dialogue = Dialogue(offers_tls=True)
    assert codes(dialogue.say(b"STARTTLS\r\n" + behind)) == ["501 5.5.4"]
    assert dialogue.is_closed
    assert not dialogue.wants_tls


def test_negative_control_without_that_rule_the_injected_command_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Attack N1 succeeds when the connection does not look at what follows STARTTLS."""
    careful = SmtpConnection._command
    monkeypatch.setattr(SmtpConnection, "_command", lambda self, line, _more: careful(self, line, False))
    dialogue = Dialogue(offers_tls=True)
    assert codes(dialogue.say(b"STARTTLS\r\nNOOP\r\n")) == ["220 2.0.0", "250 2.0.0"]


def test_tls_from_the_start() -> None:
    dialogue = Dialogue(offers_tls=True, peer=Peer("192.0.2.1", 2525, TLS))
    assert b"STARTTLS" not in dialogue.say(b"LHLO x.test\r\n")


def test_draining_between_messages_says_421() -> None:
    """Promise P13."""
    dialogue = Dialogue()
    dialogue.begin()
    assert codes(dialogue.take(dialogue.connection.drain())) == ["421 4.3.2"]
    assert dialogue.is_closed


@pytest.mark.parametrize("begin", [b"DATA\r\nfirst", b"BDAT 5\r\nfir", b"BDAT 5\r\nfirst"])
def test_draining_lets_a_message_end(begin: bytes) -> None:
    dialogue = Dialogue()
    dialogue.begin()
    dialogue.say(begin)
    assert dialogue.take(dialogue.connection.drain()) == b""
    rest = {b"D": b" and last\r\n.\r\n", b"B": b"stBDAT 0 LAST\r\n"}[begin[:1]]
    if begin.endswith(b"5\r\nfirst"):
        rest = rest[2:]
    assert codes(dialogue.say(rest))[-2:] == ["250 2.0.0", "421 4.3.2"]
    assert dialogue.is_closed
    assert len(dialogue.policy.messages) == 1


def test_draining_does_not_wait_for_ever() -> None:
    dialogue = Dialogue()
    dialogue.begin()
    dialogue.say(b"DATA\r\nfirst")
    dialogue.take(dialogue.connection.drain())
    assert codes(dialogue.take(dialogue.connection.timeout())) == ["421 4.3.2"]
    assert dialogue.policy.messages == []


def test_silence_is_421_and_the_end() -> None:
    dialogue = Dialogue()
    assert codes(dialogue.take(dialogue.connection.timeout())) == ["421 4.4.2"]
    assert dialogue.is_closed


def test_connection_cut_off_within_content_stores_nothing() -> None:
    dialogue = Dialogue()
    dialogue.begin()
    dialogue.say(b"DATA\r\nSubject: half\r\n\r\nwhat was\r\n.")
    dialogue.connection.eof()
    assert dialogue.policy.messages == []


FRAGMENTS = st.sampled_from(
    [
        b"LHLO x.test\r\n", b"MAIL FROM:<f@y.test>\r\n", b"RCPT TO:<a@x.test>\r\n", b"DATA\r\n", b".\r\n", b"\r\n.\r\n",
        b"BDAT 3\r\n", b"BDAT 2 LAST\r\n", b"RSET\r\n", b"STARTTLS\r\n", b"XFORWARD IDENT=1\r\n", b"NOOP\r\n", b"\r\n",
        b"\n", b"\r", b"x", b"\x00", b"\xff", b"EHLO y\r\n", b"QUIT\r\n", b"HELP\r\n", b"VRFY a\r\n", b"<", b" ",
    ]
)  # fmt: skip


@settings(max_examples=400)
@given(st.lists(FRAGMENTS | st.binary(max_size=8), max_size=40), st.integers(1, 30))
def test_any_input_gets_replies_and_never_an_exception(parts: list[bytes], size: int) -> None:
    """Attack N12: whatever comes in whatever state, and cut in any way, the replies are the same."""
    wire = b"".join(parts)
    whole, pieces = Dialogue(offers_tls=False), Dialogue(offers_tls=False)
    sent = whole.say(wire)
    assert pieces.say_in_pieces(wire, size) == sent
    assert pieces.policy.messages == whole.policy.messages
    assert b"451" not in sent
    for line in sent.split(b"\r\n")[:-1]:
        assert line[:3].isdigit()
