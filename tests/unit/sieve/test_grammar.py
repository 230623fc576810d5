"""Scripts that are none: where, and what to do about it (RFC 5228 §8)."""

from __future__ import annotations

import pytest

from mailcore.errors import ScriptInvalid
from mailcore.sieve import EXTENSIONS, compile_script
from tests.unit.sieve.checks import LIMITS, check_script


@pytest.mark.parametrize(
    ("script", "line", "column", "what"),
    [
        ("keep", 1, 5, '";" or a block'),
        ("keep;\n  discard", 2, 10, "the end of the script"),
        ("keep; }", 1, 7, "A command is expected"),
        ('"keep";', 1, 1, "A command is expected"),
        ("if true { keep;", 1, 9, "This block has no end"),
        ("if { keep; }", 1, 1, '"if" takes one test'),
        ("if true keep;", 1, 1, '"if" takes a block'),
        ("if true;", 1, 1, "a block"),
        ("keep { discard; }", 1, 1, "no block"),
        ("if not { keep; }", 1, 4, '"not" takes one test'),
        ("if allof { keep; }", 1, 4, "a list of tests"),
        ("if allof () { keep; }", 1, 11, "A test is expected"),
        ("if allof (true; true) { keep; }", 1, 15, '"," or ")"'),
        ("if true (false) { keep; }", 1, 4, '"true" takes no test'),
        ("keep; else { keep; }", 1, 7, 'no "if" in front'),
        ("if true { } else { } else { }", 1, 22, 'no "if" in front'),
        ("if true { } else { } elsif true { }", 1, 22, 'no "if" in front'),
        ("/* never ends", 1, 1, "This comment has no end"),
        ('redirect "never ends;\n', 1, 10, "This string has no end"),
        ("redirect text:\nnever ends\n", 1, 10, "This text has no end"),
        ('redirect "a\0b@c.example";', 1, 10, "NUL"),
        ('redirect ["a@b.example"];', 1, 10, "takes a string"),
        ("redirect 5;", 1, 10, "takes a string"),
        ("redirect;", 1, 1, '"redirect" takes a string; 0 stand here'),
        ('redirect "a@b.example" "c@d.example";', 1, 1, "2 stand here"),
        ('if size :over "5" { keep; }', 1, 15, "takes a number"),
        ("if size 5 { keep; }", 1, 4, '":over" or ":under"'),
        ("if size :over :under 5 { keep; }", 1, 15, "exclude each other"),
        ("if size :over :over 5 { keep; }", 1, 15, "twice"),
        ("if size :over 5X { keep; }", 1, 15, "malformed"),
        ("if size :over 99999999999G { keep; }", 1, 15, "too large"),
        ('if header ["a", ] "b" { keep; }', 1, 17, "A string is expected"),
        ('if header [] "b" { keep; }', 1, 12, "A string is expected"),
        ('if header ["a" "b"] "c" { keep; }', 1, 16, '"," or "]"'),
        ('if header :contains "a:" "b" { keep; }', 1, 4, "without the colon"),
        ('if header :comparator "a" { keep; }', 1, 4, '"header" takes'),
        ('if header "a" "b" :comparator { keep; }', 1, 19, "needs a string"),
        ('if header :nearly "a" "b" { keep; }', 1, 11, '"header" knows no ":nearly"'),
        ('if header :regex "a" "b" { keep; }', 1, 11, 'Add "regex" to "require"'),
        ('fileinto "a";', 1, 1, 'Add "fileinto" to "require"'),
        ('if envelope "from" "b" { keep; }', 1, 4, 'Add "envelope" to "require"'),
        ('redirect :copy "a@b.example";', 1, 10, 'Add "copy" to "require"'),
        ('require "fileinto"; fileinto :create "a";', 1, 30, 'Add "mailbox" to "require"'),
        ("frobnicate;", 1, 1, 'There is no command "frobnicate"'),
        ("if frobnicate { keep; }", 1, 4, 'There is no test "frobnicate"'),
        ("if keep { discard; }", 1, 4, '"keep" is no test'),
        ("true;", 1, 1, '"true" is no command'),
        ('keep; require "copy";', 1, 7, '"require" must stand before'),
        ("require 5;", 1, 1, "a list of extensions"),
        ('require "copy" "fileinto";', 1, 1, "a list of extensions"),
        ('require "copy" { }', 1, 1, "a list of extensions"),
        ('require ["copy", "foreverypart"];', 1, 1, '"foreverypart" is not supported'),
        ('require "include";', 1, 1, "Scripts cannot include others"),
        ("keep; @", 1, 7, "Nothing in a script begins with"),
        ("keep :;", 1, 6, "A tag is a colon and a name"),
        ('redirect "nobody";', 1, 1, "not an address"),
        ('if address "subject" "a@b.example" { keep; }', 1, 4, "no field of addresses"),
        ('if address ["to", "in-reply-to"] "a" { keep; }', 1, 4, "no field of addresses"),
        (b"keep;\n# \xff", 2, 3, "text in UTF-8"),
        ('keep;\n\n   if header "s" "ü" { } fileinto "x";', 3, 26, 'Add "fileinto"'),
    ],
)
def test_what_is_wrong_and_where(script: str | bytes, line: int, column: int, what: str) -> None:
    with pytest.raises(ScriptInvalid) as caught:
        compile_script(script)
    assert what in caught.value.what
    assert (caught.value.line, caught.value.column) == (line, column)
    check_script(script)


@pytest.mark.parametrize(
    "script",
    [
        "",
        "\n\r\n\t # nothing but a comment",
        "\ufeffkeep;".encode(),
        "KEEP; If True { Stop; }",
        "keep;keep;",
        'require [ "fileinto" , "copy" ] ; fileinto :copy "x" ;',
        'if anyof(true,false){keep;}elsif not false{discard;}else{}',
        'redirect text:\na@b.example\n.\n;'.replace("a@b.example\n.", "."),
        'if size :over 1k { keep; }',
    ],
)  # fmt: skip
def test_scripts_in_odd_dress(script: str | bytes) -> None:
    if isinstance(script, str) and script.startswith("redirect"):
        with pytest.raises(ScriptInvalid, match="not an address"):
            compile_script(script)
    else:
        compile_script(script)


def test_every_extension_can_be_required() -> None:
    assert {
        "fileinto", "reject", "ereject", "vacation", "vacation-seconds", "envelope", "imap4flags", "regex", "body",
        "variables", "date", "index", "relational", "copy", "mailbox", "mailboxid", "editheader", "duplicate",
        "subaddress", "special-use", "encoded-character", "comparator-i;ascii-numeric", "comparator-i;octet",
        "comparator-i;ascii-casemap", "comparator-i;unicode-casemap", "environment", "spamtest", "spamtestplus",
    } <= EXTENSIONS.keys()  # fmt: skip
    names = ", ".join(f'"{name}"' for name in EXTENSIONS)
    compile_script(f"require [{names}]; keep;")


def test_nesting() -> None:
    """§2: fifteen levels at least; beyond the limit a sentence, however deep it is."""
    deepest = LIMITS.nesting
    compile_script("if true { " * deepest + "keep; " + "}" * deepest)
    compile_script("if " + "not " * (deepest - 1) + "true { keep; }")
    compile_script("if " + "anyof (" * (deepest - 1) + "true" + ")" * (deepest - 1) + " { keep; }")


def test_size() -> None:
    comment = "#" * (LIMITS.script_bytes - 5)
    compile_script(f"keep;{comment}")
    with pytest.raises(ScriptInvalid, match="65,537 bytes, 65,536 are allowed"):
        compile_script(f"keep;{comment}#")
