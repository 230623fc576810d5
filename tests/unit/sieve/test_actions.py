"""Actions of extensions and what goes with what, RFC by RFC."""

from __future__ import annotations

import pytest

from mailcore.errors import ScriptInvalid
from mailcore.sieve import Keep, MarkDuplicate, MessageView, Vacation, compile_script
from tests.unit.sieve.scripts import failure, message, run, told

# -- copy (RFC 3894) ----------------------------------------------------------------------------


def test_explicit_keep_stays_where_a_copy_does_not() -> None:
    """§1, §3."""
    later = 'if header "Subject" "MAKE MONEY FAST!!!" { discard; }'
    spam = message("Subject: MAKE MONEY FAST!!!")
    assert told(f'require "fileinto"; fileinto "unfiltered"; keep; {later}', spam)[1] == "keep"
    copied = told(f'require ["copy", "fileinto"]; fileinto :copy "incoming"; {later}', spam)
    assert copied == ["fileinto incoming :copy", "discard"]


def test_copy_leaves_the_implicit_keep() -> None:
    script = """require ["copy", "fileinto"];
        if header :contains "X-Priority" "1" { redirect :copy "pager@example.com"; fileinto :copy "urgent"; }"""
    assert told(script, message("X-Priority: 1")) == [
        "redirect pager@example.com :copy", "fileinto urgent :copy", "implicit keep",
    ]  # fmt: skip
    assert told(script.replace("fileinto :copy", "fileinto"), message("X-Priority: 1"))[-1] == "fileinto urgent"


# -- reject (RFC 5429) --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "view", "expected"),
    [
        (
            'require "ereject"; if address "from" "someone@example.com" { ereject "Not from you any more"; }',
            message("From: someone@example.com"),
            ["ereject Not from you any more"],
        ),
        (
            'require "reject"; if header :contains "from" "coyote" { reject text:\nNot from you.\n.\n; }',
            message("From: coyote@desert.example.org"),
            ["reject Not from you.\r\n"],
        ),
        (
            'require "reject"; if header :contains "from" "coyote@desert.example.org" { reject "no"; }',
            message("From: another@example.org"),
            ["implicit keep"],
        ),
    ],
)
def test_reject(script: str, view: MessageView, expected: list[str]) -> None:
    """§2.1, §2.2."""
    assert told(script, view) == expected


@pytest.mark.parametrize(
    ("score", "expected"), [(7.0, "ereject spam"), (4.5, "fileinto Suspect"), (1.0, "implicit keep")]
)
def test_reject_by_spamtest(score: float, expected: str) -> None:
    """§2.5; the scale has 10 at twice the limit."""
    script = """require ["ereject", "spamtest", "fileinto", "comparator-i;ascii-numeric", "relational"];
        if spamtest :value "ge" :comparator "i;ascii-numeric" "6" { ereject "spam"; }
        elsif spamtest :value "ge" :comparator "i;ascii-numeric" "4" { fileinto "Suspect"; }"""
    assert told(script, spam_score=score, spam_limit=6.0) == [expected]


@pytest.mark.parametrize(
    "other",
    ["keep", 'fileinto "a"', 'redirect "a@b.example"', 'reject "again"', 'ereject "x"', 'vacation "x"', "discard"],
)
def test_reject_goes_with_nothing_else(other: str) -> None:
    """§2.4: whichever comes first; the message is kept and its sender told nothing."""
    for script in (f'reject "no"; {other};', f'{other}; reject "no";'):
        assert '"reject"' in failure(f'require ["reject", "ereject", "fileinto", "vacation"]; {script}')


def test_reject_goes_with_an_edited_header() -> None:
    """§2.4."""
    assert told('require ["reject", "editheader"]; addheader "A" "b"; reject "no";') == ["reject no"]


# -- vacation (RFC 5230, RFC 6131) --------------------------------------------------------------


def vacation(arguments: str, view: MessageView | None = None, **circumstances: object) -> Vacation:
    """The answer that a command asks for."""
    script = f'require ["vacation-seconds", "variables"]; {arguments};'
    action, keep = run(script, *([view] if view else []), **circumstances).actions
    assert isinstance(action, Vacation)
    assert isinstance(keep, Keep)
    return action


def test_vacation_in_full() -> None:
    """§4: the implicit keep stays."""
    action = vacation(
        'vacation :days 23 :subject "Away" :from "Tim <tjs@example.edu>" :mime :handle "ran-away"'
        ' :addresses ["tjs@example.edu", "ts4z@landru.example.edu"] "Content-Type: text/plain\n\ngone"'
    )
    assert (action.reason, action.seconds, action.subject, action.sender) == (
        "Content-Type: text/plain\r\n\r\ngone", 23 * 86400, "Away", "Tim <tjs@example.edu>",
    )  # fmt: skip
    assert action.mime
    assert action.addresses == ("tjs@example.edu", "ts4z@landru.example.edu")


@pytest.mark.parametrize(
    ("period", "seconds"),
    [
        ("", 7 * 86400),
        (":days 1", 86400),
        (":days 0", 86400),
        (":days 100000", 365 * 86400),
        (":seconds 1800", 1800),
        (":seconds 0", 300),
    ],
)
def test_how_often(period: str, seconds: int) -> None:
    """§4.1; RFC 6131 §2: within what this server allows."""
    assert vacation(f'vacation {period} "x"').seconds == seconds


def test_handles() -> None:
    """§4.2: without one all that is said tells answers apart; with one nothing else does."""
    plain = vacation('vacation "a"').handle
    assert plain == vacation('vacation :days 3 :addresses "x@y.example" "a"').handle
    others = [
        vacation(f"vacation {it}").handle
        for it in ('"b"', ':subject "s" "a"', ':from "a@b.example" "a"', ':mime "\n\na"')
    ]
    named = [vacation(f'vacation :handle "{name}" "{text}"').handle for name in "xy" for text in "ab"]
    assert named[0] == named[1] != named[2] == named[3]
    assert len({plain, *others, *named}) == 7


def test_handles_know_arguments_as_they_were_written() -> None:
    """§4.2: two texts are two answers; one text with variables is one, whatever they are."""
    cyrus = 'if header :contains "subject" "cyrus" { vacation "mail cyrus-bugs"; } else { vacation "call me"; }'
    expanded = 'if header :matches "subject" "*" { vacation :subject "Automatic response to: ${1}" "I\'m away"; }'
    named = """if header :contains "subject" "lunch" { vacation :handle "ran-away" "I'm out and can't meet for lunch"; }
        else { vacation :handle "ran-away" "I'm out"; }"""
    for script, subjects, answers in (
        (cyrus, ("Cyrus bug", "come over for dinner"), 2),
        (expanded, ("lunch?", "dinner?"), 1),
        (named, ("lunch?", "dinner?"), 1),
    ):
        found = [vacation(f"{script} keep", message(f"Subject: {it}")) for it in subjects]
        assert len({each.handle for each in found}) == answers
        assert len({(each.reason, each.subject) for each in found}) == 2


ENTITY = "Content-Type: multipart/alternative; boundary=foo\n\n--foo\n\nAt the beach.\n\n--foo--\n"


def test_mime() -> None:
    """§4.4."""
    action = vacation(f"vacation :mime text:\n{ENTITY}.\n")
    assert action.mime
    assert action.reason == ENTITY.replace("\n", "\r\n")


@pytest.mark.parametrize(
    "entity", ["Bcc: x@y.example\n\nhello", "Subject: x\n\n", "no field\n\n", "Content-Type: text/plain; x=ü\n\nhello"]
)
def test_fields_that_are_not_of_the_content_are_refused(entity: str) -> None:
    """§5, attack M8: when it is saved, and if variables bring them, when it runs."""
    with pytest.raises(ScriptInvalid, match=":mime"):
        compile_script(f'require "vacation"; vacation :mime "{entity}";')
    failure(f'require ["vacation", "variables"]; set "v" "{entity}"; vacation :mime "${{v}}";')


def test_away() -> None:
    """§4.8."""
    script = """require "vacation";
        if header :contains "from" "boss@example.edu" { redirect "pleeb@isp.example.org"; }
        else { vacation "Sorry, I'm away, I'll read your message when I get around to it."; }"""
    assert told(script, message("From: boss@example.edu")) == ["redirect pleeb@isp.example.org"]
    assert told(script)[0].startswith("vacation Sorry")


def test_subject_with_variables_holds_no_second_line() -> None:
    """§4.3; attack M8."""
    view = message("Subject: =?utf-8?q?cyrus_bug=0D=0ABcc:_x@y.example?=")
    action = vacation('if header :matches "subject" "*" { set "s" "${1}"; } vacation :subject "Re: ${s}" "x"', view)
    assert action.subject == "Re: cyrus bug Bcc: x@y.example"


def test_only_one_vacation_acts() -> None:
    """§4.7."""
    assert '"vacation"' in failure('require "vacation"; vacation "a"; vacation "a";')


@pytest.mark.parametrize(
    "command",
    ['vacation :from "nobody" "x"', 'vacation :from "a@b.example, c@d.example" "x"', "vacation", "vacation 7"],
)
def test_vacation_refused_when_the_script_is_saved(command: str) -> None:
    with pytest.raises(ScriptInvalid):
        compile_script(f'require "vacation"; {command};')


def test_meeting() -> None:
    """RFC 6131 §5: requiring the seconds is enough."""
    script = 'require ["vacation-seconds"]; vacation :addresses ["tjs@example.edu"] :seconds 1800 "In a meeting.";'
    assert told(script) == ["vacation In a meeting.", "implicit keep"]


# -- mailboxes (RFC 5490, RFC 9042, RFC 8579) ---------------------------------------------------


def test_mailboxexists_and_create() -> None:
    """RFC 5490 §3."""
    script = """require ["fileinto", "reject", "mailbox"];
        if mailboxexists "Partners" { fileinto "Partners"; } else { reject "not accepted by the Mailstore"; }"""
    assert told(script, has_mailbox=lambda name: name == "Partners") == ["fileinto Partners"]
    assert told(script, has_mailbox=lambda _: False) == ["reject not accepted by the Mailstore"]
    assert told('require ["fileinto", "mailbox"]; fileinto :create "Partners";') == ["fileinto Partners :create"]
    all_of = 'require ["mailbox", "fileinto"]; if mailboxexists ["a", "inbox", "b"] { fileinto "a"; }'
    assert told(all_of, has_mailbox=lambda name: name in {"a", "INBOX", "b"}) == ["fileinto a"]
    assert told(all_of, has_mailbox=lambda name: name in {"a", "INBOX"}) == ["implicit keep"]
    assert told('require "mailbox"; if mailboxexists "a//b" { discard; }', has_mailbox=lambda _: True) == [
        "implicit keep"
    ]


def test_mailboxid() -> None:
    """RFC 9042 §4, §5."""
    script = """require ["fileinto", "mailboxid"];
        if header :contains ["from"] "coyote" {
            fileinto :mailboxid "F6352ae03-b7f5-463c-896f-d8b48ee3" "INBOX.harassment";
        }"""
    assert told(script, message("From: coyote@desert.example.org")) == [
        "fileinto INBOX.harassment :mailboxid F6352ae03-b7f5-463c-896f-d8b48ee3"
    ]
    test = 'require "mailboxid"; if mailboxidexists ["F1", "F2"] { discard; }'
    assert told(test, has_mailbox_id=lambda name: name in {"F1", "F2"}) == ["discard"]
    assert told(test, has_mailbox_id=lambda name: name == "F1") == ["implicit keep"]


def test_special_use() -> None:
    """RFC 8579 §3, §4."""
    script = """require ["fileinto", "special-use", "mailbox"];
        if specialuse_exists "\\\\archive" { fileinto :specialuse "\\\\Archive" :create "INBOX/Received"; }
        if specialuse_exists "Spam" ["\\\\Junk"] { fileinto :specialuse "\\\\junk" "Spam"; }"""
    there = {("\\Archive", None), ("\\Junk", "Spam")}
    assert told(script, has_special_use=lambda use, name: (use, name) in there) == [
        "fileinto INBOX/Received :create :specialuse \\Archive", "fileinto Spam :specialuse \\Junk",
    ]  # fmt: skip
    assert told(script) == ["implicit keep"]


@pytest.mark.parametrize(
    "command",
    [
        'fileinto "a//b"', 'fileinto ""', 'fileinto "/etc/passwd"', 'fileinto "a\nb"', f'fileinto "{"x" * 256}"',
        f'fileinto "{"a/" * 40}b"', 'fileinto :specialuse "Archive" "a"',
        'fileinto :mailboxid "F1" :specialuse "\\\\Junk" "a"',
    ],
)  # fmt: skip
def test_mailboxes_that_cannot_be(command: str) -> None:
    with pytest.raises(ScriptInvalid):
        compile_script(f'require ["fileinto", "mailboxid", "special-use"]; {command};')


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/../../b", "..", "~root", "%2e%2e", "a\\b", "con", "INBOX"])
def test_names_that_look_like_paths_are_names(name: str) -> None:
    """Attack M13: a mailbox is no file, whatever its name is."""
    written = name.replace("\\", "\\\\")
    assert told(f'require "fileinto"; fileinto "{written}";') == [f"fileinto {name}"]


def test_a_name_out_of_a_message_that_cannot_be_is_an_error() -> None:
    """And the message is kept."""
    script = 'require ["fileinto", "variables"]; if header :matches "subject" "*" { fileinto "lists/${1}/x"; }'
    assert "No mailbox" in failure(script, message("Subject: "))
    assert told(script, message("Subject: a")) == ["fileinto lists/a/x"]


# -- duplicate (RFC 7352) -----------------------------------------------------------------------


def test_duplicates_are_told_apart_by_id_and_handle() -> None:
    """§3.1, §3.2: whatever the id was taken from."""
    view = message("Message-ID: <one@b>", "Subject: s")
    asked: list[bytes] = []
    script = """require ["duplicate", "variables"];
        if duplicate {}
        if duplicate :header "message-id" {}
        if header :matches "message-id" "*" { if duplicate :uniqueid "${0}" {} }
        if duplicate :handle "h" {} if duplicate :header "subject" {} if duplicate :uniqueid "<ONE@b>" {}"""
    outcome = run(script, view, is_duplicate=lambda each: bool(asked.append(each)))
    assert len(asked) == len(set(asked)) == len(outcome.actions) - 1 == 4
    assert all(len(each) == 16 for each in asked)


def test_duplicate_is_the_same_all_through_a_script() -> None:
    """§3: what this run has seen does not count."""
    view = message("Message-ID: <one@b>")
    script = 'require ["duplicate", "fileinto"]; if duplicate { discard; } if duplicate { discard; }'
    assert told(script, view) == ["remember 604800", "implicit keep"]
    assert told(script, view, is_duplicate=lambda _: True) == ["discard"]


@pytest.mark.parametrize(
    ("arguments", "seen", "expected"),
    [
        ("", False, ["remember 604800", "implicit keep"]),
        ("", True, ["discard"]),
        (":seconds 60", False, ["remember 60", "implicit keep"]),
        (":seconds 60 :last", True, ["remember 60", "discard"]),
        (":seconds 0", True, ["implicit keep"]),
        (":seconds 9999999999", False, ["remember 7776000", "implicit keep"]),
        (':header "x-none"', True, ["implicit keep"]),
        (':header "not a name"', True, ["implicit keep"]),
    ],
)
def test_duplicate_periods(arguments: str, seen: bool, expected: list[str]) -> None:
    """§3.1, §3.3."""
    script = f'require "duplicate"; if duplicate {arguments} {{ discard; }}'
    assert told(script, message("Message-ID: <one@b>"), is_duplicate=lambda _: seen) == expected


def test_nothing_is_remembered_of_a_script_that_failed() -> None:
    """§3."""
    failure('require ["duplicate", "reject"]; if duplicate :uniqueid "x" {} keep; reject "x";')


def test_alerts() -> None:
    """§5.2."""
    script = """require ["duplicate", "variables", "imap4flags", "fileinto"];
        if header :matches "subject" "ALERT: *" {
            if duplicate :seconds 60 :uniqueid "${1}" { setflag "\\\\seen"; }
            fileinto "Alerts";
        }"""
    view = message("Subject: ALERT: disk full")
    assert told(script, view) == ["remember 60", "fileinto Alerts"]
    assert told(script, view, is_duplicate=lambda _: True) == ["fileinto Alerts [\\Seen]"]


def test_duplicates_aside_and_two_uses_apart() -> None:
    """§5.1, §5.4."""
    script = 'require ["duplicate", "fileinto", "mailbox"]; if duplicate { fileinto :create "Trash/Duplicate"; }'
    view = message(
        "Message-ID: <a@b>", "X-Event-ID: 7", "X-Ticket-ID: 7", "To: support@example.com", "Subject: fileserver"
    )
    assert told(script, view, is_duplicate=lambda _: True) == ["fileinto Trash/Duplicate :create"]
    script = """require ["duplicate", "imap4flags"];
        if duplicate :header "X-Event-ID" :handle "notifier" { discard; }
        if allof (duplicate :header "X-Ticket-ID" :handle "support", address "to" "support@example.com",
                  header :contains "subject" "fileserver") { setflag "\\\\seen"; }"""
    first, second, _ = run(script, view).actions
    assert isinstance(second, MarkDuplicate)
    assert first != second
    assert told(script, view, is_duplicate=lambda each: each == second.id)[-1] == "implicit keep [\\Seen]"


def test_header_and_unique_id_exclude_each_other() -> None:
    """§3.1."""
    with pytest.raises(ScriptInvalid):
        compile_script('require "duplicate"; if duplicate :header "a" :uniqueid "b" {}')
