"""`addheader` and `deleteheader` (RFC 5293), example by example."""

from __future__ import annotations

import pytest

from mailcore.errors import ScriptInvalid
from mailcore.sieve import FileInto, Keep, MessageView, Redirect, compile_script
from mailcore.sieve.extensions import editheader
from tests.unit.sieve.scripts import failure, message, run

REQUIRE = 'require ["editheader", "fileinto", "variables", "index"];\n'
MAIL = message("Received: from a", "X-Hello: one", "x-hello: two", "Subject: s", "X-Hello: three", "Auto-Submitted: no")


def header(commands: str, view: MessageView = MAIL) -> list[str]:
    """The lines of the header that the implicit keep stores; none if it is unchanged."""
    outcome = run(REQUIRE + commands, view)
    assert outcome.error is None
    (keep,) = (action for action in outcome.actions if isinstance(action, Keep))
    if keep.header is None:
        return []
    assert keep.header.endswith(b"\r\n\r\n")
    return keep.header.decode("ascii").split("\r\n")[:-2]


UNCHANGED = MAIL.raw[: MAIL.body_start].decode().split("\r\n")[:-2]


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ("", []),
        ('addheader "X-New" "v";', ["X-New: v", *UNCHANGED]),
        ('addheader :last "X-New" "v";', [*UNCHANGED, "X-New: v"]),
        ('addheader "A" "1"; addheader "B" "2";', ["B: 2", "A: 1", *UNCHANGED]),
        ('addheader "Subject" "t";', ["Subject: t", *UNCHANGED]),
        ('deleteheader "subject";', [line for line in UNCHANGED if not line.startswith("Subject")]),
        ('deleteheader "X-Hello";', ["Received: from a", "Subject: s", "Auto-Submitted: no"]),
        ('deleteheader "X-Hello" "two";', [line for line in UNCHANGED if "two" not in line]),
        ('deleteheader :contains "X-Hello" ["T", "zz"];', [line for line in UNCHANGED if ": t" not in line]),
        ('deleteheader :matches "X-Hello" "t*";', [line for line in UNCHANGED if ": t" not in line]),
        ('deleteheader :index 1 "X-Hello";', [line for line in UNCHANGED if "one" not in line]),
        ('deleteheader :index 1 :last "X-Hello";', [line for line in UNCHANGED if "three" not in line]),
        ('deleteheader :index 1 :contains "X-Hello" "two";', []),
        ('deleteheader :index 9 "X-Hello";', []),
        ('deleteheader "X-None";', []),
        ('addheader "X-Hello" "World"; deleteheader :index 1 "X-Hello";', UNCHANGED),
        (
            'deleteheader :index 1 "X-Hello"; deleteheader :index 2 "X-Hello";',
            [line for line in UNCHANGED if "one" not in line and "three" not in line],
        ),
    ],
)
def test_edits(commands: str, expected: list[str]) -> None:
    """§4, §5, §7."""
    assert header(commands) == expected


@pytest.mark.parametrize("name", ["Received", "auto-submitted", "Delivered-To", "Authentication-Results", "ARC-Seal"])
def test_what_protects_from_loops_and_forgery_stays(name: str) -> None:
    """§6: silently."""
    assert header(f'deleteheader "{name}"; addheader "{name}" "x";') == []


def test_each_action_has_the_header_of_its_time() -> None:
    """§7: what comes later sees the change, what came before does not."""
    script = (
        REQUIRE
        + """
        fileinto "before"; addheader "X-Hello" "World";
        if header :is :index 1 "X-Hello" "World" { fileinto "international"; }
        redirect "a@b.example";
        """
    )
    before, after, sent = run(script, MAIL).actions
    assert isinstance(before, FileInto)
    assert before.header is None
    assert isinstance(after, FileInto)
    assert isinstance(sent, Redirect)
    assert after.header == sent.header == b"X-Hello: World\r\n" + MAIL.headers.raw


def test_a_changed_message_is_the_same_message() -> None:
    """§7: it is kept once."""
    outcome = run(REQUIRE + 'keep; addheader "X-Flavor" "vanilla"; keep;', MAIL)
    assert len(outcome.actions) == 1


def test_redirected_once() -> None:
    """§4."""
    script = (
        REQUIRE
        + """
        if not header :contains "X-Sieve-Filtered" ["<kim@job.example.com>", "<kim@home.example.com>"] {
            addheader "X-Sieve-Filtered" "<kim@job.example.com>"; redirect "kim@home.example.com";
        }"""
    )
    (first,) = run(script, MAIL).actions
    assert isinstance(first, Redirect)
    assert first.header is not None
    second = run(script, MessageView(first.header + b"body"))
    assert second.implicit_keep


def test_error_keeps_the_message_as_it_came() -> None:
    """§7."""
    assert failure(REQUIRE + 'addheader "A" "b"; redirect "${x}";', MAIL)


INJECTIONS = ["a\r\nBcc: x@y.example", "a\nBcc: b", "a${hex:0d 0a}Bcc: c", "a\rBcc: d", "a\x0b\x85\u2028Bcc: e", "${1}"]


def added_lines(value: str) -> int:
    """By how many lines a field of that value makes the header longer; `${1}` stands for a sender's words."""
    sender = message("Subject: =?utf-8?q?a=0D=0ABcc:_f?=", "X-Hello: one")
    script = 'require ["editheader", "encoded-character", "variables"]; if header :matches "subject" "*" {}'
    (keep,) = run(f'{script} addheader "X-V" "{value}";', sender).actions
    assert isinstance(keep, Keep)
    assert keep.header is not None
    added = MessageView(keep.header).headers
    assert added.has(b"x-v")
    return len(keep.header.splitlines()) - len(sender.headers.raw.splitlines()) + 10 * added.has(b"bcc")


@pytest.mark.parametrize("value", INJECTIONS)
def test_no_value_makes_a_second_field(value: str) -> None:
    """Attack M8: nothing in a value ends its field, be it the script's or the sender's."""
    assert added_lines(value) == 1


def test_a_value_that_is_written_as_it_comes_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    monkeypatch.setattr(editheader, "encode_header", lambda text, name: f"{name}: {text}\r\n".encode())
    assert any(added_lines(value) > 1 for value in INJECTIONS)


def test_no_value_holds_nul() -> None:
    with pytest.raises(ScriptInvalid, match="NUL"):
        compile_script('require ["editheader", "encoded-character"]; addheader "X-V" "a${hex:00}";')


@pytest.mark.parametrize(
    "text", ["Grüße aus Köln " * 30, "word " * 200, "x" * 2000, "=?utf-8?q?no?=", " lead", "a  b", "😀" * 100, ""]
)
def test_values_come_back_as_they_were(text: str) -> None:
    """§4: on lines that are short enough, in ASCII."""
    assert header(f'addheader "X-V" "{text}";')
    keep = run(f'{REQUIRE}addheader "X-V" "{text}";', MAIL).actions[0]
    assert isinstance(keep, Keep)
    assert keep.header is not None
    assert keep.header.isascii()
    assert max(map(len, keep.header.split(b"\r\n"))) <= 998
    assert MessageView(keep.header).headers.texts(b"x-v") == (text.strip(),)


@pytest.mark.parametrize(
    "command", ['addheader "a b" "c"', 'addheader "a:" "c"', 'deleteheader ""', 'deleteheader :last "a"']
)
def test_what_is_refused_when_the_script_is_saved(command: str) -> None:
    """§4, §5."""
    with pytest.raises(ScriptInvalid):
        compile_script(f"{REQUIRE}{command};")


@pytest.mark.parametrize("raw", [b"A: b", b"A: b\n", b"\r\n", b"", b"A: b\r\n\r\n", b"A: b\n\nbody"])
def test_headers_of_any_shape_take_fields_at_both_ends(raw: bytes) -> None:
    for where, place in (("", 0), (":last", -1)):
        keep = run(f'{REQUIRE}addheader {where} "X-V" "v";', MessageView(raw)).actions[0]
        assert isinstance(keep, Keep)
        assert keep.header is not None
        names = [line.split(b":")[0] for line in keep.header.splitlines() if line]
        assert names[place] == b"X-V"
        assert set(names) <= {b"X-V", b"A"}


def test_edits_are_few() -> None:
    assert "more than 32 times" in failure(REQUIRE + 'addheader "A" "b";' * 33, MAIL)
