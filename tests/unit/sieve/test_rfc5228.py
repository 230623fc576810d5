"""The core of Sieve (RFC 5228), example by example."""

from __future__ import annotations

import pytest

from mailcore.sieve import MessageView
from tests.unit.sieve.scripts import failure, holds, message, told

COYOTE = message(
    "Date: Tue, 1 Apr 1997 09:06:31 -0800 (PST)",
    "From: coyote@desert.example.org",
    "To: roadrunner@acme.example.com",
    "Subject: I have a present for you",
    body="Look, I'm sorry about the whole anvil thing.",
)
MARRIAGE = message(
    "Date: Fri, 1 Aug 2003 23:13:05 -0700",
    "From: youcouldberich!@reply-by-postal-mail.invalid",
    "To: rube@landru.example.com",
    "Subject: $$$ YOU, TOO, CAN BE A MILLIONAIRE! $$$",
    "X-Caffeine: C8H10N4O2",
    "X-Ms-Exchange: ",
)


def test_comments_of_both_kinds() -> None:
    """§2.3."""
    script = "if size :over 100k { # this is a comment\n discard;\n}\n/* this is a\ncomment */ keep; /* so */ stop;"
    assert told(script) == ["keep"]


@pytest.mark.parametrize(("number", "size"), [("10", 10), ("1K", 1024), ("2k", 2048), ("1M", 1 << 20), ("1G", 1 << 30)])
def test_numbers_and_quantifiers(number: str, size: int) -> None:
    """§2.4.1."""
    view = MessageView(b"a: b\r\n\r\n")
    for actual, expected in ((size - 1, False), (size, False), (size + 1, True)):
        view.size_bytes = actual
        assert holds(f"size :over {number}", view) is expected


def test_multi_line_string_is_unstuffed() -> None:
    """§2.4.2: two dots at the beginning of a line stand for one; one dot with something behind stays."""
    script = 'require "reject"; reject text: # so\r\n..one\r\n.two\r\nthree\r\n.\r\n;'
    assert told(script) == ["reject .one\r\n.two\r\nthree\r\n"]


def test_escapes_in_strings() -> None:
    r"""§2.4.2: \x is x, whatever x is."""
    assert told(r'require "fileinto"; fileinto "a\"b\\c\d";') == [r'fileinto a"b\cd']


def test_string_lists_may_be_one_string() -> None:
    """§2.4.2.1."""
    for names in ('"subject"', '["subject"]', '["cc", "subject"]'):
        assert holds(f'header :contains {names} "present"', COYOTE)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("$${hex:40}", "$@"),
        ("${hex: 40 }", "@"),
        ("${HEX: 40}", "@"),
        ("${hex:40", "${hex:40"),
        ("${hex:400}", "${hex:400}"),
        ("${hex:4${hex:30}}", "${hex:40}"),
        ("${unicode:40}", "@"),
        ("${ unicode:40}", "${ unicode:40}"),
        ("${UNICODE:40}", "@"),
        ("${UnICoDE:0000040}", "@"),
        ("${Unicode:Cool}", "${Unicode:Cool}"),
        ("${hex: c3 bc}", "ü"),
        ("${hex:c3}${hex:bc}", "ü"),
        ("${unicode:1F600}", "😀"),
    ],
)
def test_encoded_characters(written: str, meant: str) -> None:
    """§2.4.2.4."""
    assert told(f'require ["encoded-character", "fileinto"]; fileinto "{written}";') == [f"fileinto {meant}"]
    assert told(f'require ["fileinto"]; fileinto "{written}";') == [f"fileinto {written}"]


def test_header_names_match_in_any_case_and_values_are_decoded() -> None:
    """§2.4.2.2, §2.7.2."""
    view = message("SUBJECT: =?utf-8?q?J=C3=BCrgen?= =?utf-8?b?IHdhciBkYQ==?=")
    assert holds('header :is "subject" "jürgen war da"', view)
    assert not holds('header :is "subject" "JÜRGEN war da"', view)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ('header :is "subject" "i HAVE a present for you"', True),
        ('header :is "subject" "present"', False),
        ('header :contains "subject" "PRESENT"', True),
        ('header :contains :comparator "i;octet" "subject" "PRESENT"', False),
        ('header :contains "subject" ""', True),
        ('header :matches "subject" "*present*"', True),
        ('header :matches "subject" "I have ? present for *"', True),
        ('header :matches "subject" "present*"', False),
        ('header :matches "subject" "I have a present for you?"', False),
        ('header "subject" "I have a present for you"', True),
        ('header :contains ["x-none", "subject"] ["anvil", "present"]', True),
        ('header :contains "x-none" ""', False),
    ],
)
def test_match_types_and_comparators(test: str, expected: bool) -> None:
    """§2.7.1, §2.7.3, §5.7."""
    assert holds(test, COYOTE) is expected


@pytest.mark.parametrize(
    ("pattern", "value", "expected"),
    [
        ("frop*frml", "frop*frml", True),
        (r"\\*", "*", True),
        (r"\\*", "x", False),
        (r"\\?", "?", True),
        (r"\\?", "x", False),
        ("*", "", True),
        ("?", "", False),
        ("a*b*c", "a-b-b-c", True),
        ("a*b*c", "a-b-c-", False),
        ("*ab", "aab", True),
        ("?b*?", "abc", True),
        ("?b*?", "ab", False),
        ("**", "x", True),
        ("a*a", "a", False),
    ],
)
def test_wildcards(pattern: str, value: str, expected: bool) -> None:
    """§2.7.1."""
    assert holds(f'header :matches "x" "{pattern}"', message(f"X: {value}")) is expected


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ('address :is :all "from" "tim@example.com"', True),
        ('address :domain :is "from" "example.COM"', True),
        ('address :localpart "from" "TIM"', True),
        ('address :localpart "from" "tim@example.com"', False),
        ('address :contains "from" "Tim the"', False),
        ('address :is ["to", "cc"] "c@example.com"', True),
        ('address :is "cc" "undisclosed-recipients"', False),
        ('address :is "x-original-to" "a"', False),
        ('address :is ["Resent-From", "SENDER", "reply-to", "bcc", "Resent-To", "Delivered-To"] "a"', False),
    ],
)
def test_addresses(test: str, expected: bool) -> None:
    """§2.7.4, §5.1: names, comments and groups are no part of an address."""
    view = message(
        "From: Tim the Enchanter (of fire) <tim@example.com>",
        'To: "a, b" <ab@example.com>, Team: c@example.com, d@example.com;',
        "Cc: undisclosed-recipients:;",
    )
    assert holds(test, view) is expected


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ('envelope :all :is "from" "tim@example.com"', True),
        ('envelope :domain "from" "example.com"', True),
        ('envelope :localpart :is "to" "alice"', True),
        ('envelope ["from", "to"] "alice@example.org"', True),
        ('envelope :matches "from" "?*"', True),
    ],
)
def test_envelope(test: str, expected: bool) -> None:
    """§5.4."""
    assert holds(test, require="envelope", reverse_path="tim@example.com") is expected


@pytest.mark.parametrize("part", ["", ":all", ":localpart", ":domain"])
def test_null_reverse_path_is_an_empty_text(part: str) -> None:
    """§5.4."""
    assert holds(f'envelope {part} :is "from" ""', require="envelope", reverse_path="")


def test_exists_wants_all_of_them() -> None:
    """§5.5."""
    assert holds('exists ["From", "Date"]', COYOTE)
    assert not holds('exists ["From", "X-Date"]', COYOTE)


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("true", True),
        ("false", False),
        ("not false", True),
        ("allof (true, true)", True),
        ("allof (true, false)", False),
        ("anyof (false, true)", True),
        ("anyof (false, false)", False),
        ("not anyof (not true, allof (true, not true))", True),
        ('header :is ["X-Caffeine"] [""]', False),
        ('header :contains ["X-Caffeine"] [""]', True),
        ('header :is "x-ms-exchange" ""', True),
    ],
)
def test_logic_and_empty_values(test: str, expected: bool) -> None:
    """§5.2, §5.3, §5.6, §5.7, §5.8, §5.10."""
    assert holds(test, MARRIAGE) is expected


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (COYOTE, ["redirect acm@example.com"]),
        (message("From: x@y.example", "Subject: ****money****"), ["redirect postmaster@example.com"]),
        (message("From: x@y.example", "Subject: else"), ["redirect field@example.com"]),
    ],
)
def test_if_elsif_else(view: MessageView, expected: list[str]) -> None:
    """§3.1."""
    script = """
        require "fileinto";
        if header :contains "from" "coyote" { redirect "acm@example.com"; }
        elsif header :contains "Subject" "$$$" { redirect "postmaster@example.com"; }
        elsif header :matches "subject" "?*money*" { redirect "postmaster@example.com"; }
        else { redirect "field@example.com"; }
        """
    assert told(script, view) == expected


def test_implicit_keep_and_what_cancels_it() -> None:
    """§2.10.2."""
    assert told("") == ["implicit keep"]
    assert told("stop; discard;") == ["implicit keep"]
    assert told("keep;") == ["keep"]
    assert told("discard;") == ["discard"]
    assert told("discard; keep;") == ["discard", "keep"]
    assert told('require "fileinto"; fileinto "a";') == ["fileinto a"]
    assert told('redirect "a@b.example";') == ["redirect a@b.example"]
    assert told("if false { discard; }") == ["implicit keep"]


def test_the_same_is_done_once() -> None:
    """§2.10.3: a mailbox gets one copy; `keep` and INBOX by name are the same."""
    script = """
        require "fileinto";
        keep; keep; fileinto "inbox"; fileinto "a"; fileinto "a"; fileinto "b";
        redirect "A@b.example"; redirect "a@b.example";
        """
    assert told(script) == ["fileinto INBOX", "fileinto a", "fileinto b", "redirect A@b.example"]


def test_size() -> None:
    """§5.9: a message of exactly that size is neither over nor under."""
    view = message("A: b")
    assert not holds(f"size :over {view.size_bytes}", view)
    assert not holds(f"size :under {view.size_bytes}", view)
    assert holds(f"size :under {view.size_bytes + 1}", view)


def test_extended_example() -> None:
    """§9, with the outcome for each kind of message that it speaks of."""
    script = """
        require ["fileinto"];
        if header :is "Sender" "owner-ietf-mta-filters@imc.org" { fileinto "filter"; }
        elsif address :DOMAIN :is ["From", "To"] "example.com" { keep; }
        elsif anyof (NOT address :all :contains ["To", "Cc", "Bcc"] "me@example.com",
                     header :matches "subject" ["*make*money*fast*", "*university*dipl*mas*"]) { fileinto "spam"; }
        else { fileinto "personal"; }
        """
    assert told(script, message("Sender: owner-ietf-mta-filters@imc.org")) == ["fileinto filter"]
    assert told(script, message("From: a@example.com")) == ["keep"]
    assert told(script, message("From: a@b.example", "To: c@d.example")) == ["fileinto spam"]
    assert told(script, message("To: me@example.com.example", "Subject: make a lot of money, fast")) == [
        "fileinto spam"
    ]
    assert told(script, message("To: me@example.com.example", "Subject: hi")) == ["fileinto personal"]


def test_too_many_redirects_are_an_error_and_the_message_is_kept() -> None:
    script = "".join(f'redirect "a{number}@b.example";\n' for number in range(5))
    assert failure(script) == "line 5: The script redirects to more than 4 addresses."
    assert len(told(script.replace("a4", "a3"))) == 4
