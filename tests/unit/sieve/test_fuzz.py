"""Any bytes are a script or are refused; any script makes an outcome of any message (short form of the guided fuzz)."""

from __future__ import annotations

import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailcore.errors import ScriptInvalid
from mailcore.sieve import EXTENSIONS, MessageView, compile_script
from mailcore.sieve.extensions import EXTENSIONS as ALL
from tests.hostile import HOSTILE
from tests.unit.sieve.checks import check_run, check_script

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

FORMS = [form for extension in ALL.values() for form in extension.forms]
COMMANDS = ["keep", "discard", "redirect", "stop", "if", "elsif", "else", *(f.name for f in FORMS if not f.is_test)]
TESTS = [
    "header",
    "address",
    "exists",
    "size",
    "true",
    "false",
    "not",
    "allof",
    "anyof",
    *(f.name for f in FORMS if f.is_test),
]
TAGS = sorted({
    *("is", "contains", "matches", "comparator", "all", "localpart", "domain", "over", "under"),
    *(tag.name for extension in ALL.values() for tags in extension.tags.values() for tag in tags),
    *(tag.name for form in FORMS for tag in form.tags),
})  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from([
        "subject", "to", "from", "date", "received", "message-id", "x-new", "a@b.example", "*", "?*", "(a*)*b", "gt",
        "le", "i;unicode-casemap", "i;ascii-numeric", "i;octet", "${1}", "${v}", "${0}${v}", "${hex:41}", "\\Seen",
        "\\Junk", "5",
        "INBOX/a", "text", "", "v", "year", "+0100", "std11", "weekday", "body", "multipart",
    ]),
    st.text(max_size=20),
)  # fmt: skip
NAMES = ", ".join(f'"{name}"' for name in EXTENSIONS)


def quoted(text: str) -> str:
    """A string as scripts write it."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\0", "") + '"'


STRINGS = TEXTS.map(quoted)
ARGUMENTS = st.lists(
    st.one_of(
        st.sampled_from(TAGS).map(lambda name: f":{name}"),
        st.integers(0, 300).map(str),
        STRINGS,
        st.lists(STRINGS, min_size=1, max_size=3).map(lambda texts: f"[{', '.join(texts)}]"),
    ),
    max_size=5,
).map(" ".join)
TREES = st.recursive(
    st.tuples(st.sampled_from(TESTS), ARGUMENTS).map(" ".join),
    lambda inner: st.one_of(
        inner.map(lambda test: f"not {test}"),
        st.lists(inner, min_size=1, max_size=3).map(lambda tests: f"anyof ({', '.join(tests)})"),
    ),
    max_leaves=4,
)
SIMPLE = st.tuples(st.sampled_from(COMMANDS), ARGUMENTS).map(lambda parts: f"{' '.join(parts)};")
SCRIPTS = st.lists(
    st.one_of(
        SIMPLE, st.tuples(TREES, st.lists(SIMPLE, max_size=3).map(" ".join)).map(lambda it: f"if {it[0]} {{ {it[1]} }}")
    ),
    max_size=6,
).map(" ".join)

LINES = [
    'if header :matches "subject" "*" { set "v" "${1}"; }',
    'if header :regex ["to", "x-new"] "(.*)@([^.]*)" { set :upperfirst "v" "${2}${1}"; }',
    'if anyof (not exists "x-new", body :text :contains "${v}", date :count "ge" "date" "year" "1") { keep; }',
    'addheader :last "X-New" "${v}";', 'deleteheader :index 1 :matches "subject" "*${1}";', 'fileinto :copy "a/${v}";',
    'vacation :subject "${v}" "x";', 'redirect "${v}@b.example";', 'keep :flags "${v}";', "discard;", "stop;",
    "markspam;",
    'if address :detail :matches "to" "?*" { fileinto :create "${0}"; }', 'reject "${v}";', 'reply "${v}";',
    'if hasflag :contains ["v"] "${1}" { removeflag "${v}"; }', 'if duplicate :uniqueid "${v}" { discard; }',
    'if body :content ["", "${v}"] :matches "*e*" { set :quotewildcard "v" "${v}"; }',
    'if currentdate :matches "std11" "* *" { set "v" "${2}"; }', 'if spamtest :value "gt" "3" { fileinto "${v}"; }',
    'if string :value "gt" :comparator "i;unicode-casemap" "${v}" "${1}" { setflag "v" "${v} x"; }',
]  # fmt: skip
"""Commands that compile, which fit to one another in any order."""
SMALL = [hostile for hostile in HOSTILE if not hostile.is_large]
VIEWS = {hostile.name: MessageView(hostile.build()) for hostile in SMALL[::4]}
MESSAGES = st.one_of(
    st.sampled_from(sorted(VIEWS)).map(VIEWS.__getitem__),
    st.binary(max_size=300).map(MessageView),
    st.lists(
        st.tuples(st.sampled_from([b"Subject", b"To", b"Date", b"X-New"]), st.binary(max_size=40)), max_size=6
    ).map(lambda fields: MessageView(b"".join(b"%s: %s\r\n" % field for field in fields) + b"\r\nbody here")),
)


@QUICK
@given(st.one_of(st.binary(max_size=200), st.text(string.printable, max_size=200).map(str.encode)))
def test_any_bytes_are_a_script_or_refused(source: bytes) -> None:
    check_script(source)


@QUICK
@given(SCRIPTS, MESSAGES)
def test_anything_that_looks_like_a_script(script: str, view: MessageView) -> None:
    compiled = check_script(f"require [{NAMES}];\n{script}")
    if compiled is not None:
        check_run(compiled, view)


@QUICK
@given(st.lists(st.sampled_from(LINES), max_size=12).map(" ".join), MESSAGES)
def test_any_script_makes_an_outcome_of_any_message(script: str, view: MessageView) -> None:
    compiled = check_script(f"require [{NAMES}];\n{script}")
    assert compiled is not None
    check_run(compiled, view)


@QUICK
@given(st.lists(st.sampled_from(LINES), min_size=1, max_size=3).map("\n".join), st.data())
def test_a_script_with_a_fault_in_it_is_refused_or_runs(script: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(script)))
    fault = data.draw(
        st.sampled_from(["", '"', "{", "}", "[", "(", ";", ",", ":", "\\", "\0", "/*", "text:\n", "é", "\ud800"])
    )
    broken = f"require [{NAMES}];\n{script[:at]}{fault}{script[at + data.draw(st.integers(0, 3)) :]}"
    compiled = check_script(broken)
    if compiled is not None:
        check_run(compiled, MessageView(b"Subject: x\r\nTo: a+b@c.example\r\n\r\nhello"))


def test_what_is_made_compiles_often_enough() -> None:
    """Negative control: the lines that are put together are scripts, each by itself."""
    for line in LINES:
        try:
            compile_script(f"require [{NAMES}]; {line}")
        except ScriptInvalid as invalid:
            raise AssertionError(line) from invalid
