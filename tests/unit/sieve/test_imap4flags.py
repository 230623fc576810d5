"""Flags (RFC 5232), example by example."""

from __future__ import annotations

import pytest

from mailcore.errors import ScriptInvalid
from mailcore.sieve import MessageView, compile_script
from tests.unit.sieve.scripts import message, told

REQUIRE = 'require ["imap4flags", "variables", "fileinto", "relational", "comparator-i;ascii-numeric"];\n'


def flags(commands: str) -> str:
    """The flags of the implicit keep after some commands."""
    (words,) = told(REQUIRE + commands)
    return words.removeprefix("implicit keep").strip(" []")


@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        ('setflag "\\\\Deleted";', "\\Deleted"),
        ('setflag "\\\\deleted"; setflag "\\\\SEEN";', "\\Seen"),
        ('addflag "\\\\Deleted"; addflag "\\\\Answered";', "\\Answered \\Deleted"),
        ('addflag ["\\\\Deleted", "\\\\Answered"];', "\\Answered \\Deleted"),
        ('addflag "\\\\Deleted \\\\Answered";', "\\Answered \\Deleted"),
        ('addflag "  \\\\Answered   \\\\Deleted ";', "\\Answered \\Deleted"),
        ('addflag ["a", "A", ""]; addflag "a";', "a"),
        ('setflag ["a b c"]; removeflag ["B", "x"];', "a c"),
        ('addflag "$MDNRequired"; removeflag "$mdnrequired";', ""),
        ('setflag ["\\\\Recent", "\\\\Other", "b(d", "ü", "good"];', "good"),
        ('setflag "f" "\\\\Seen"; setflag "${f} $x";', "\\Seen $x"),
        ('setflag "f" "a"; addflag "f" "b"; removeflag "f" "a"; setflag "${f}";', "b"),
        ('set "f" "a b"; addflag "f" "c"; setflag "${f}";', "a b c"),
    ],
)
def test_actions(commands: str, expected: str) -> None:
    """§2, §3."""
    assert flags(commands) == expected


@pytest.mark.parametrize(
    ("variables", "test", "expected"),
    [
        ('setflag "A B";', 'hasflag :is "b A"', True),
        ('setflag "A B";', 'hasflag ["b", "A"]', True),
        ('setflag "A B";', 'hasflag "c"', False),
        *(
            (
                'set "MyVar" "NonJunk Junk gnus-forward $Forwarded NotJunk JunkRecorded $Junk $NotJunk";',
                f'hasflag :contains "MyVar" {keys}',
                expected,
            )
            for keys, expected in (
                ('"Junk"', True),
                ('"forward"', True),
                ('["label", "forward"]', True),
                ('["junk", "forward"]', True),
                ('"junk forward"', True),
                ('"forward junk"', True),
                ('"label"', False),
                ('["label1", "label2"]', False),
            )
        ),
        ('set "F" "A B";', 'hasflag :count "ge" :comparator "i;ascii-numeric" "F" "2"', True),
        ('set "F" "A B a";', 'hasflag :count "eq" :comparator "i;ascii-numeric" "F" "2"', True),
        ('set "F" "A"; set "G" "B";', 'hasflag :count "eq" :comparator "i;ascii-numeric" ["F", "G"] "2"', True),
    ],
)
def test_hasflag(variables: str, test: str, expected: bool) -> None:
    """§4."""
    assert told(f"{REQUIRE}{variables} if {test} {{ discard; }} else {{ keep; }}")[0].startswith(
        "discard" if expected else "keep"
    )


def test_flags_of_actions() -> None:
    """§5: those of `:flags` alone, else the internal variable's."""
    script = REQUIRE + 'setflag "a"; fileinto :flags "\\\\Deleted" "x"; fileinto "y"; keep :flags "";'
    assert told(script) == ["fileinto x [\\Deleted]", "fileinto y [a]", "keep"]


def test_the_last_flags_win() -> None:
    """§3: where the same mailbox is filed into twice."""
    script = REQUIRE + 'fileinto :flags "a" "x"; fileinto :flags "b" "x"; keep :flags "c"; setflag "d"; keep;'
    assert told(script) == ["fileinto x [b]", "keep [d]"]


def test_own_variables_need_variables() -> None:
    """§3."""
    with pytest.raises(ScriptInvalid, match='Add "variables"'):
        compile_script('require "imap4flags"; setflag "v" "a";')


EXTENDED = """
require ["fileinto", "imap4flags", "variables"];
if size :over 1M {
    addflag "MyFlags" "Big";
    if header :is "From" "boss@company.example.com" { addflag "MyFlags" "\\\\Flagged"; }
    fileinto :flags "${MyFlags}" "Big messages";
}
if header :is "From" "grandma@example.net" {
    addflag "MyFlags" ["\\\\Answered", "$MDNSent"];
    fileinto :flags "${MyFlags}" "GrandMa";
}
if header :is "Sender" "owner-ietf-mta-filters@example.org" {
    set "MyFlags" "\\\\Flagged $Work";
    keep :flags "${MyFlags}";
} elsif anyof (address :domain :is ["From", "To"] "company.example.com") {
    keep :flags "${MyFlags}";
} elsif anyof (not address :all :contains ["To", "Cc"] "me@company.example.com",
               header :matches "subject" ["*make*money*fast*", "*university*dipl*mas*"]) {
    removeflag "MyFlags" "\\\\Flagged";
    fileinto :flags "${MyFlags}" "spam";
} else {
    fileinto :flags "${MyFlags}" "personal";
}
"""


def large(view: MessageView) -> MessageView:
    """The same, said to be of two megabytes."""
    view.size_bytes = 2 << 20
    return view


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (
            large(message("From: boss@company.example.com")),
            ["fileinto Big messages [\\Flagged Big]", "keep [\\Flagged Big]"],
        ),
        (
            large(message("From: grandma@example.net", "To: me@company.example.com.example")),
            [
                "fileinto Big messages [Big]",
                "fileinto GrandMa [\\Answered Big $MDNSent]",
                "fileinto personal [\\Answered Big $MDNSent]",
            ],
        ),
        (message("Sender: owner-ietf-mta-filters@example.org"), ["keep [\\Flagged $Work]"]),
        (message("From: a@b.example"), ["fileinto spam"]),
    ],
)
def test_extended_example(view: MessageView, expected: list[str]) -> None:
    """§9."""
    assert told(EXTENDED, view) == expected
