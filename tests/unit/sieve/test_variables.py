"""Variables (RFC 5229), example by example, and encoded characters before them."""

from __future__ import annotations

import pytest

from mailcore.errors import ScriptInvalid
from mailcore.sieve import MessageView, compile_script
from tests.unit.sieve.scripts import failure, holds, message, told

REQUIRE = (
    'require ["variables", "fileinto", "encoded-character", "relational", "comparator-i;ascii-numeric", "regex"];\n'
)


def value(commands: str, text: str, view: MessageView | None = None) -> str:
    """What a text is after some commands: the mailbox it names."""
    (words,) = told(f'{REQUIRE}{commands} fileinto "{text}";', *([view] if view else []))
    return words.removeprefix("fileinto ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<${fo\\o}>", "<value>"),
        ("<${fo\\\\o}>", "<${fo\\o}>"),
        ("<\\${foo}>", "<value>"),
        ("<\\\\${foo}>", "<\\value>"),
        ("<${FOO}>", "<value>"),
        ("<${unknown}>", "<>"),
        ("<${President, ${foo}}>", "<${President, value}>"),
        ("<${foo>", "<${foo>"),
        ("<${}>", "<${}>"),
        ("<$foo {foo} $${foo}>", "<$foo {foo} $value>"),
        ("<${0}${007}>", "<>"),
    ],
)
def test_references(text: str, expected: str) -> None:
    """§3, §3.1."""
    assert value('set "foo" "value";', text) == expected


def test_what_an_expansion_yields_is_not_expanded() -> None:
    """§3.1."""
    assert value('set "dollar" "$"; set "text" "regarding ${dollar}{beep}";', "${text}") == "regarding ${beep}"


def test_encoded_characters_come_first() -> None:
    """§3.1."""
    view = message("Subject: my dear Ethelbert!")
    script = REQUIRE + 'set "name" "Ethelbert"; if header :contains "Subject" "dear${hex:20 24 7b 4e}ame}" { discard; }'
    assert told(script, view) == ["discard"]


@pytest.mark.parametrize(
    ("test", "view", "text", "expected"),
    [
        ('header :matches "List-ID" "*<*@*"', message("List-ID: A list <acme@lists.example>"), "${2}", "acme"),
        (
            'header :matches "Subject" "[*] *"',
            message("Subject: [acme-users] [fwd] version 1.0 is out"),
            "${1}|${2}|${3}",
            "acme-users|[fwd] version 1.0 is out|",
        ),
        (
            'address :matches ["To", "Cc"] ["coyote@**.com", "wile@**.com"]',
            message("To: coyote@ACME.Example.COM"),
            "${0}|${1}|${2}",
            "coyote@ACME.Example.COM||ACME.Example",
        ),
        ('header :matches "x" "?*?"', message("X: abcd"), "${1}|${2}|${3}", "a|bc|d"),
        ('header :matches "x" "*a*"', message("X: banana"), "${1}|${2}", "b|nana"),
        ('header :regex "x" "(b+)(c)?"', message("X: abbd"), "${0}|${1}|${2}", "bb|bb|"),
        ('header :matches :comparator "i;octet" "x" "Ü*"', message("X: =?utf-8?q?=C3=9Cber?="), "${1}", "ber"),
    ],
)
def test_match_variables(test: str, view: MessageView, text: str, expected: str) -> None:
    """§3.2: the wildcards take as little as they can, and keep the case of what they match."""
    assert value(f"if {test} {{}}", text, view) == expected


def test_failed_and_skipped_matches_change_no_match_variables() -> None:
    """§3.2: tests that are not needed are not made."""
    view = message("Subject: one", "To: a@b.com")
    first = 'if header :matches "subject" "o*" {}'
    assert value(f'{first} if header :matches "subject" "z*" {{}}', "${1}", view) == "ne"
    assert value(f'{first} if anyof (true, address :domain :matches "To" "*.com") {{}}', "${1}", view) == "ne"
    assert value(f'{first} if allof (false, address :domain :matches "To" "*.com") {{}}', "${1}", view) == "ne"
    assert value(f'{first} if address :domain :matches "To" "*.com" {{}}', "${1}", view) == "b"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ('set "b" "${a}"', "juMBlEd lETteRS"),
        ('set :length "b" "${a}"', "15"),
        ('set :lower "b" "${a}"', "jumbled letters"),
        ('set :upperfirst "b" "${a}"', "JuMBlEd lETteRS"),
        ('set :upperfirst :lower "b" "${a}"', "Jumbled letters"),
        ('set :lowerfirst :upper "b" "${a}"', "jUMBLED LETTERS"),
        ('set :quotewildcard "b" "Rock*"', "Rock\\*"),
        ('set :quotewildcard "b" "a\\\\b?*"', "a\\\\b\\?\\*"),
        ('set :quotewildcard :length "b" "Rock*"', "6"),
        ('set :quoteregex "b" "a.b*[c]"', "a\\.b\\*\\[c\\]"),
        ('set :upper "b" "äb"', "äB"),
        ('set :length "b" "äb"', "2"),
        ('set "b" ""', ""),
    ],
)
def test_modifiers(command: str, expected: str) -> None:
    """§4.1: those of higher precedence first; letters beyond ASCII stay as they are."""
    assert value(f'set "a" "juMBlEd lETteRS"; {command};', "<${b}>") == f"<{expected}>"


@pytest.mark.parametrize(
    "command",
    [
        'set :lower :upper "a" "b"',
        'set :lower :lower "a" "b"',
        'set :quoteregex :quotewildcard "a" "b"',
        'set :sideways "a" "b"',
        'set "1" "b"',
        'set "a.b" "c"',
        'set "${a}" "b"',
        'set "" "b"',
        'set "a" "${100}"',
        'set "a" "${vnd.other.thing}"',
        f'set "a" "{"x" * 4001}"',
        f'set "{"x" * 65}" "a"',
    ],
    ids=lambda command: command[:30],
)
def test_what_is_refused_when_the_script_is_saved(command: str) -> None:
    """§3, §4, §6."""
    with pytest.raises(ScriptInvalid):
        compile_script(f"{REQUIRE}{command};")


def test_multi_line_value() -> None:
    """§4."""
    script = """require ["variables", "reject"];
        set "honorific"  "Mr"; set "first_name" "Wile"; set "last_name"  "Coyote";
        set "text" text:
Dear ${HONORIFIC} ${last_name},
I'm out, please leave a message after the meep.
.
;
        reject "${text}";"""
    (words,) = told(script)
    assert words.startswith("reject Dear Mr Coyote,\r\nI'm out")


def test_string() -> None:
    """§5: blanks are not stripped; an empty text counts for nothing."""
    script = REQUIRE + 'set "state" "${state} pending"; if string :matches " ${state} " "* pending *" { discard; }'
    assert told(script) == ["discard"]
    numeric = ':comparator "i;ascii-numeric"'
    for count, texts in ((0, '""'), (1, '" "'), (2, '["a", "", "${hex:62}"]')):
        assert holds(
            f'string :count "eq" {numeric} {texts} "{count}"',
            require="variables encoded-character relational comparator-i;ascii-numeric",
        )


def test_limits() -> None:
    """§6: a value that is too long is cut, which is no error; names may have 64 characters; there may be 256."""
    doubling = 'set "a" "0123456789"; ' + 'set "a" "${a}${a}"; ' * 1000
    assert value(f'{doubling} set :length "n" "${{a}}";', "${n}") == "4000"
    many = " ".join(f'set "v{number}" "x";' for number in range(257))
    assert failure(REQUIRE + many) == "line 2: The script sets more than 256 variables."
    assert value(many.replace('set "v256" "x";', ""), "${v255}") == "x"
    assert value(f'set "{"x" * 64}" "y";', f"${{{'x' * 64}}}") == "y"


def test_flags_in_a_text_are_the_variable_of_flags() -> None:
    """A variable of flags is a text of names apart by blanks (RFC 5232 §3)."""
    script = 'require ["variables", "imap4flags", "fileinto"]; setflag "f" ["\\\\Seen", "$A"]; fileinto "${f}";'
    assert told(script) == ["fileinto \\Seen $A"]
