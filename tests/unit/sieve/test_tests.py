"""Tests of extensions, RFC by RFC."""

from __future__ import annotations

import pytest

from mailcore.errors import ScriptInvalid
from mailcore.sieve import MessageView, compile_script
from tests.unit.sieve.scripts import holds, message, told

NUMERIC = ':comparator "i;ascii-numeric"'
UNICODE = ':comparator "i;unicode-casemap"'

# -- relational (RFC 5231) ----------------------------------------------------------------------

RELATIONAL = """require ["relational", "comparator-i;ascii-numeric", "fileinto"];
    if header :value "lt" :comparator "i;ascii-numeric" ["x-priority"] ["3"] { fileinto "Priority"; }
    elsif address :count "gt" :comparator "i;ascii-numeric" ["to"] ["5"] { fileinto "SPAM"; }
    elsif address :value "gt" :all :comparator "i;ascii-casemap" ["from"] ["M"] { fileinto "From N-Z"; }
    else { fileinto "From A-M"; }
    if allof (address :count "eq" :comparator "i;ascii-numeric" ["to", "cc"] ["1"],
              address :all :comparator "i;ascii-casemap" ["to", "cc"] ["me@foo.example.com"]) { fileinto "Only me"; }"""


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (message("X-Priority: 1"), ["fileinto Priority"]),
        (message("To: " + ", ".join(f"a{number}@b.example" for number in range(6))), ["fileinto SPAM"]),
        (message("From: nora@b.example"), ["fileinto From N-Z"]),
        (message("From: Adam@b.example", "X-Priority: 3"), ["fileinto From A-M"]),
        (message("From: z@b.example", "To: me@foo.example.com"), ["fileinto From N-Z", "fileinto Only me"]),
        (message("From: z@b.example", "To: me@foo.example.com", "Cc: a@b.c"), ["fileinto From N-Z"]),
    ],
)
def test_relational_example(view: MessageView, expected: list[str]) -> None:
    """§7."""
    assert told(RELATIONAL, view) == expected


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (f'header :value "gt" {NUMERIC} "n" "9"', True),
        (f'header :value "gt" {NUMERIC} "n" "10"', False),
        (f'header :value "ge" {NUMERIC} "n" "010"', True),
        (f'header :value "eq" {NUMERIC} "n" "10 apples"', True),
        (f'header :is {NUMERIC} "n" "0010"', True),
        (f'header :is {NUMERIC} "w" "other"', True),
        (f'header :value "gt" {NUMERIC} "w" "99999999999999999999"', True),
        ('header :value "gt" "n" "9"', False),
        ('header :value "ne" "n" ["10", "11"]', True),
        (f'header :count "eq" {NUMERIC} ["n", "w"] "3"', True),
        (f'header :count "eq" {NUMERIC} "none" "0"', True),
        (f'envelope :count "eq" {NUMERIC} ["from", "to"] "2"', True),
        (f'address :count "ge" {NUMERIC} ["to", "cc"] ["3"]', True),
        (f'anyof (address :count "ge" {NUMERIC} ["to"] ["3"], address :count "ge" {NUMERIC} ["cc"] ["3"])', False),
        (f'header :count "ge" {NUMERIC} ["received"] ["3"]', False),
        (f'address :detail :count "eq" {NUMERIC} ["to", "cc"] ["3"]', True),
        (f'header :count "ge" {NUMERIC} ["received", "subject"] ["3"]', True),
        (f'header :count "ge" {NUMERIC} ["to", "cc"] ["3"]', False),
        ('header :value "lt" :comparator "i;octet" "w" "b"', True),
    ],
)
def test_relations(test: str, expected: bool) -> None:
    """§4, §6; numbers as in RFC 4790 §9.1."""
    view = message(
        "Received: a",
        "Received: b",
        "Subject: example",
        "To: foo@example.com, baz@example.com",
        "Cc: qux@example.com",
        "N: 10",
        "W: aword",
        "W: b",
    )
    assert holds(test, view, require="relational comparator-i;ascii-numeric envelope subaddress") is expected


def test_null_reverse_path_counts_for_nothing() -> None:
    """§4.2."""
    test = f'envelope :count "eq" {NUMERIC} "from" "0"'
    assert holds(test, require="envelope relational comparator-i;ascii-numeric", reverse_path="")
    assert not holds(test, require="envelope relational comparator-i;ascii-numeric")


# -- subaddress (RFC 5233) ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "test", "expected"),
    [
        ("ken+sieve@example.org", 'address :detail "to" "sieve"', True),
        ("ken+sieve@example.org", 'address :user "to" "ken"', True),
        ("ken+sieve+x@example.org", 'address :detail "to" "sieve+x"', True),
        ("ken+@example.org", 'address :detail "to" ""', True),
        ("ken@example.org", 'address :detail :matches "to" "*"', False),
        ("ken@example.org", 'address :user "to" "ken"', True),
        ("ken+mta-filters@example.org", 'envelope :detail "to" "mta-filters"', True),
        ("ken@example.org", 'envelope :user "to" "ken"', True),
    ],
)
def test_subaddress(to: str, test: str, expected: bool) -> None:
    """§4, §5."""
    assert holds(test, message(f"To: {to}"), require="subaddress envelope", forward_path=to) is expected


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("postmaster+anything@example.com", ["fileinto INBOX.postmaster"]),
        ("ken+mta-filters@example.com", ["fileinto inbox.ietf-mta-filters"]),
        ("ken+foo@example.com", ["redirect ken@example.net"]),
        ("ken@example.com", ["implicit keep"]),
    ],
)
def test_subaddress_example(to: str, expected: list[str]) -> None:
    """§4: a dot separates no names of mailboxes here."""
    script = """require ["envelope", "subaddress", "fileinto"];
        if envelope :user "to" "postmaster" { fileinto "INBOX.postmaster"; stop; }
        if envelope :detail "to" "mta-filters" { fileinto "inbox.ietf-mta-filters"; }
        if envelope :detail "to" "foo" { redirect "ken@example.net"; }"""
    assert told(script, forward_path=to) == expected


# -- regex (draft-ietf-sieve-regex) -------------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "view", "expected"),
    [
        (
            'address :regex ["to", "cc", "bcc"] "me(\\\\\\\\+.*)?@company\\\\\\\\.com"',
            message("To: ME+x@company.com"),
            False,
        ),
        ('address :regex ["to", "cc", "bcc"] "me(\\\\+.*)?@company\\\\.com"', message("To: ME+x@company.com"), True),
        ('address :regex ["to", "cc", "bcc"] "me(\\\\+.*)?@company\\\\.com"', message("To: you@company.com"), False),
        ('header :regex :comparator "i;octet" "subject" "^[^[:lower:]]+$"', message("Subject: BUY NOW"), True),
        ('header :regex :comparator "i;octet" "subject" "^[^[:lower:]]+$"', message("Subject: Buy now"), False),
        ('header :regex "subject" "^(re|fwd): "', message("Subject: FWD: x"), True),
        ('header :regex "subject" "a{2,3}b"', message("Subject: xaab"), True),
        ('header :regex "subject" "^.$"', message("Subject: =?utf-8?q?=C3=BC?="), True),
        ('header :regex "subject" "Ü"', message("Subject: =?utf-8?q?=C3=BC?="), True),
        ('header :regex :comparator "i;octet" "subject" "Ü"', message("Subject: =?utf-8?q?=C3=BC?="), False),
        ('header :regex "subject" "\\\\bcat\\\\b"', message("Subject: a cat."), True),
        ('header :regex "subject" "^b$"', message("Subject: a", body="b"), False),
        ('body :text :regex "^two$"', message("Subject: a", body="one\ntwo\nthree"), True),
        ('body :text :regex "one.two"', message("Subject: a", body="one\ntwo\nthree"), False),
        ('string :regex "x" ["y", "x"]', message("Subject: a"), True),
    ],
)
def test_regex(test: str, view: MessageView, expected: bool) -> None:
    r"""§6, §8; in the draft's own example the backslashes are doubled twice over, which matches a backslash."""
    assert holds(test, view, require="regex body variables") is expected


def test_regex_sets_match_variables_greedily() -> None:
    """§7.1."""
    script = """require ["fileinto", "regex", "variables"];
        if header :regex "List-ID" "<(.*)@" { fileinto "lists.${1}"; stop; }
        if header :regex "Subject" "^\\\\[(.*)\\\\] (.*)$" { fileinto "${1}"; fileinto "${2}"; }"""
    assert told(script, message("List-ID: <a@b@c>")) == ["fileinto lists.a@b"]
    view = message("Subject: [acme-users] [fwd] version 1.0 is out")
    assert told(script, view) == ["fileinto acme-users] [fwd", "fileinto version 1.0 is out"]


@pytest.mark.parametrize(
    "pattern", ["(", "[a", "a{2", "*a", "a\\\\", "\\\\1", "[[.x.]]", "[[=x=]]", "(?i)a", "a{1001}"]
)
def test_malformed_expressions_are_refused_when_the_script_is_saved(pattern: str) -> None:
    """§6."""
    script = f'require "regex"; if header :regex "subject" "{pattern}" {{ keep; }}'
    if pattern == "a{2":
        compile_script(script)  # a brace that begins no repetition is a brace
        return
    with pytest.raises(ScriptInvalid, match="egular expression"):
        compile_script(script)


# -- comparators, environment, spamtest ---------------------------------------------------------


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        (f'header :is {UNICODE} "subject" "STRASSE ÜBER"', True),
        (f'header :contains {UNICODE} "subject" "ÜB"', True),
        (f'header :matches {UNICODE} "subject" "straße *"', True),
        ('header :is "subject" "STRASSE ÜBER"', False),
    ],
)
def test_unicode_casemap(test: str, expected: bool) -> None:
    """RFC 5051."""
    view = message("Subject: =?utf-8?q?Stra=C3=9Fe_=C3=BCber?=")
    assert holds(test, view, require="comparator-i;unicode-casemap") is expected


@pytest.mark.parametrize(
    "script",
    [
        'if header :comparator "i;ascii-numeric" "a" "b" {}',
        'require "comparator-i;ascii-numeric"; if header :contains :comparator "i;ascii-numeric" "a" "b" {}',
        'require "comparator-i;ascii-numeric"; if header :matches :comparator "i;ascii-numeric" "a" "b" {}',
        'require ["regex", "comparator-i;ascii-numeric"]; if header :regex :comparator "i;ascii-numeric" "a" "b" {}',
        'if header :comparator "i;other" "a" "b" {}',
        'require "comparator-i;other";',
        'require "relational"; if header :value "more" "a" "b" {}',
        'require "relational"; if header :value :comparator "i;octet" "a" "b" {}',
        'require "envelope"; if envelope "auth" "b" {}',
    ],
)
def test_what_is_refused_when_the_script_is_saved(script: str) -> None:
    with pytest.raises(ScriptInvalid):
        compile_script(script)


def test_environment() -> None:
    """RFC 5183 §4: what is not known matches nothing."""
    items = {"remote-ip": "192.0.2.1", "host": "mx.example.org"}
    for name, value in [*items.items(), ("location", "MDA"), ("phase", "during"), ("name", "Eider")]:
        assert holds(f'environment "{name}" "{value}"', require="environment", items=items)
    assert holds('environment :matches "REMOTE-IP" "192.*"', require="environment", items=items)
    assert not holds('environment :contains "x-none" ""', require="environment", items=items)
    for value, count in (("", "0"), ("x", "1")):
        test = f'environment :count "eq" {NUMERIC} "remote-host" "{count}"'
        require = "environment relational comparator-i;ascii-numeric"
        assert holds(test, require=require, items={"remote-host": value})


SPAMTEST = """require ["spamtestplus", "fileinto", "relational", "comparator-i;ascii-numeric"];
    if spamtest :value "eq" :comparator "i;ascii-numeric" "0" { fileinto "unclassified"; }
    elsif spamtest :percent :value "eq" :comparator "i;ascii-numeric" "0" { fileinto "not-spam"; }
    elsif spamtest :percent :value "lt" :comparator "i;ascii-numeric" "37" { fileinto "spam-trap"; }
    else { discard; }"""


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        (None, "fileinto unclassified"),
        (-3.0, "fileinto not-spam"),
        (0.0, "fileinto not-spam"),
        (3.0, "fileinto spam-trap"),
        (6.0, "discard"),
        (1e9, "discard"),
    ],
)
def test_spamtest(score: float | None, expected: str) -> None:
    """RFC 5235 §3.2; the count is 0 where nothing was tested."""
    assert told(SPAMTEST, spam_score=score) == [expected]
    by_count = SPAMTEST.replace('spamtest :value "eq"', 'spamtest :percent :count "eq"', 1)
    assert told(by_count, spam_score=score) == [expected]


@pytest.mark.parametrize(
    ("score", "value"), [(None, "0"), (0.0, "1"), (3.0, "3"), (6.0, "5"), (11.9, "9"), (12.0, "10")]
)
def test_scale_of_spamtest(score: float | None, value: str) -> None:
    """RFC 5235 §3.2.1."""
    assert holds(f'spamtest "{value}"', require="spamtest", spam_score=score)


def test_percent_needs_the_larger_extension() -> None:
    """RFC 5235 §3.2."""
    with pytest.raises(ScriptInvalid, match="spamtestplus"):
        compile_script('require "spamtest"; if spamtest :percent "1" {}')
