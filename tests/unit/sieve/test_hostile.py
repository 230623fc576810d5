"""Attack M13: scripts that mean harm are refused in a sentence, or ended within the steps they have; mail is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mailcore.errors import ScriptInvalid
from mailcore.model.limits import SieveLimits
from mailcore.sieve import Discard, Environment, Keep, MessageView, Meter, Outcome, Transaction, compile_script
from mailcore.sieve.extensions import regex
from tests.hostile import HOSTILE
from tests.unit.sieve.checks import LIMITS, check_run, check_script
from tests.unit.sieve.scripts import NOW, PLAIN, message, run

FEW = SieveLimits(script_bytes=4 << 20, steps=2_500, lookups=1000)
"""A fraction of the usual steps, so that the scripts that use them up need not be so long."""

LONG = "ab" * 30_000


def outcome(script: str, view: MessageView = PLAIN, limits: SieveLimits = FEW) -> Outcome:
    """Run a script that may be longer than others."""
    return compile_script(script, limits).run(view, Transaction("a@b.example", "c@d.example"), Environment(now=NOW))


def ended(result: Outcome) -> bool:
    """Whether it was ended for its cost, and the message kept."""
    return result.error is not None and "steps" in result.error and result.actions == (Keep(),)


# -- refused when it is saved -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("keep;" * 200_000, "1,000,000 bytes, 65,536 are allowed"),
        ("".join(f'redirect "a{number}@b.example";\n' for number in range(10_000)), "are allowed"),
        ("if true { " * 6000, "nested more than 32 deep"),
        ("if " + "not " * 10_000 + "true { keep; }", "nested more than 32 deep"),
        ("if " + "anyof (" * 9000, "nested more than 32 deep"),
        ('require "include"; include "self";', "Scripts cannot include others"),
        ("/* " * 20_000, "This comment has no end"),
        ('"' + "\\" * 60_000, "no end"),
        ("[" * 60_000, "A command is expected"),
        ("keep " + '["a",' * 10_000, "A string is expected"),
        ('require "regex"; if header :regex "s" "(a{1000}){1000}" {}', "egular expression"),
        ('require "regex"; if header :regex "s" "[^a]{999}" {}', "too large"),
        ('require "regex"; ' + 'if header :regex "s" "a" {} ' * 101, "100 regular expressions"),
        (f'if header :matches "s" "{"?a" * 10_000}" {{}}', "1,000 characters"),
    ],
    ids=lambda value: value[:30],
)
def test_refused_in_a_sentence(script: str, what: str) -> None:
    with pytest.raises(ScriptInvalid) as caught:
        compile_script(script)
    assert what in caught.value.what
    check_script(script)


def test_what_is_deep_exhausts_no_stack() -> None:
    """A million deep is refused where the limit is passed, not where Python's stack ends."""
    for script in ("if true { " * 100_000, "if " + "not " * 200_000, "if " + "anyof (" * 100_000):
        with pytest.raises(ScriptInvalid, match="nested more than 32 deep"):
            compile_script(script, SieveLimits(script_bytes=16 << 20))


# -- ended when it runs -------------------------------------------------------------------------


def test_ten_thousand_redirects_end_at_the_fifth() -> None:
    script = "".join(f'redirect "a{number}@b.example";\n' for number in range(10_000))
    result = outcome(script)
    assert result.error == "line 5: The script redirects to more than 4 addresses."
    assert result.actions == (Keep(),)
    assert result.steps == 5


def repeated(what: str, times: int, between: str = " ") -> str:
    """The same again and again, a number in the place of each "@"."""
    return between.join(what.replace("@", str(number)) for number in range(times))


STARS, MANY_B, MANY_F, FOUR_THOUSAND = "*b" * 4000, "b" * 100, "f " * 5000, "x" * 4000
KEYS = repeated(f'"{MANY_B}@"', 600, ", ")
LIGATURES = "\ufdfa" * 18_000
LINE = "y" * 900_000
SIXTEEN = "${a}" * 16

COSTLY: dict[str, tuple[str, MessageView]] = {
    "commands": ("keep;" * 3000, PLAIN),
    "tests": ("if anyof (" + repeated('header "subject" "x"', 3000, ", ") + ") {}", PLAIN),
    "keys": (f'if header :contains "x" [{KEYS}] {{}}' * 3, message(f"X: {LONG}")),
    "fields": ('if header :contains "x" "y" {}', message(*["X: z"] * 3000)),
    "wildcards": (f'if header :matches "x" "{STARS}*c" {{}}', message(f"X: {LONG}")),
    "regex": ('require "regex";' + repeated('if header :regex "x" "(a?){8@}(b?){8@}c" {}', 3), message(f"X: {LONG}")),
    "doubling": ('require "variables"; set "a" "0123456789";' + 'set "a" "${a}${a}${a}${a}";' * 1000, PLAIN),
    "expansions": (
        f'require "variables"; set "a" "{FOUR_THOUSAND}";' + f'if string "{SIXTEEN}" "y" {{}}' * 15,
        PLAIN,
    ),
    "regexes made in the run": (
        'require ["variables", "regex"]; set "p" "a{900}";' + 'if header :regex "subject" "${p}" {}' * 3,
        PLAIN,
    ),
    "patterns made in the run": (
        'require "variables"; set "q" "*x";' + 'if header :matches "subject" "${q}" {}' * 26,
        PLAIN,
    ),
    "flags": ('require "imap4flags";' + repeated(f'addflag "{MANY_F}g@";', 5), PLAIN),
    "unicode": (
        'require "comparator-i;unicode-casemap";'
        + repeated('if header :comparator "i;unicode-casemap" :is "x@" "y" {}', 3),
        message(*(f"X{number}: {number} {LIGATURES}" for number in range(3))),
    ),
    "edits of the header": ('require "editheader";' + 'addheader "A" "b";' * 2, message(f"X: {LINE}")),
    "body": (
        'require "body";' + repeated('if body :content "text/x@" :contains "z" {}', 4),
        message("S: x", body="b" * 130_000),
    ),
    "look-ups": ('require "mailbox";' + 'if not mailboxexists "a" {}' * 26, PLAIN),
}


@pytest.mark.parametrize("name", COSTLY)
def test_ended_within_its_steps(name: str) -> None:
    assert ended(outcome(*COSTLY[name])), name


@pytest.mark.parametrize("name", COSTLY)
def test_uncounted_steps_would_be_missed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control: who counts no steps goes on to the end."""
    monkeypatch.setattr(Meter, "spend", lambda self, steps: None)
    assert not ended(outcome(*COSTLY[name])), name


# -- twice the size costs twice as much ---------------------------------------------------------


def steps(script: str, view: MessageView) -> int:
    """The cost of a script that has all the steps it wants."""
    result = outcome(script, view, SieveLimits(script_bytes=16 << 20, steps=1 << 40))
    assert result.error is None
    return result.steps


GROWING: dict[str, Callable[[int], tuple[str, MessageView]]] = {
    "commands": lambda size: ("keep;" * size, PLAIN),
    "fields": lambda size: ('if header :contains "x" "y" {}', message(*["X: z"] * size)),
    "addresses": lambda size: ('if address "to" "y@z" {}', message("To: " + ", ".join(["a@b.example"] * size))),
    "star after star": lambda size: (f'if header :matches "x" "{"*a" * 50}*c" {{}}', message(f"X: {'a' * 8 * size}")),
    "regex on a value": lambda size: (
        'require "regex"; if header :regex "x" "(a*)*(a*)*(a|aa|aaa)*b" {}', message(f"X: {'a' * 8 * size}")
    ),
    "regex itself": lambda size: (
        f'require "regex"; if header :regex "x" "{"(a|b)?" * (size // 16)}c" {{}}', message(f"X: {'a' * 4000}")
    ),
    "expansions": lambda size: ('require "variables"; ' + 'set "a" "${a}${a}x";' * size, PLAIN),
    "body": lambda size: ('require "body"; if body :contains "none" {}', message("S: x", body="word " * 3 * size)),
    "keys": lambda size: ('if header "subject" [' + ",".join(f'"{number}"' for number in range(size)) + "] {}", PLAIN),
}  # fmt: skip


@pytest.mark.parametrize("name", GROWING)
def test_twice_as_much_costs_at_most_twice(name: str) -> None:
    small, large = steps(*GROWING[name](2000)), steps(*GROWING[name](4000))
    assert large <= 2.1 * small + 10, (small, large)


def test_cost_that_grows_faster_would_be_missed() -> None:
    """Negative control: keys by values is a product, and told as one."""
    both = {
        size: steps(
            'if header :contains "x" [' + ",".join(f'"{number}"' for number in range(size)) + "] {}",
            message(*["X: z"] * size),
        )
        for size in (200, 400)
    }
    assert both[400] > 3 * both[200]


# -- bounds -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ('require "fileinto"; ' + "".join(f'fileinto "m{number}";' for number in range(33)), "more than 32 actions"),
        ('require "mailbox"; ' + 'if mailboxexists "a" {}' * 33, "more than 32 times"),
        ('require "duplicate"; ' + "".join(f'if duplicate :uniqueid "{n}" {{}}' for n in range(33)), "more than 32"),
        (
            'require ["variables", "reject"]; set "a" "' + "x" * 4000 + '"; reject "' + "${a}" * 17 + '";',
            "longer than 65,536 characters",
        ),
    ],
    ids=lambda value: value[:30],
)
def test_bounds(script: str, error: str) -> None:
    result = run(script)
    assert result.error is not None
    assert error in result.error
    assert result.actions == (Keep(),)


def test_programs_that_share_a_meter_share_what_they_may_use_up() -> None:
    """Many rules cost together what one script may cost; what is done once for a message is paid once."""
    rule = compile_script('require "body"; if body :contains "none" { discard; }', FEW)
    view, meter = message("S: x", body="ä" * 50_000), Meter(FEW)
    transaction, environment = Transaction("a@b.example", "c@d.example"), Environment(now=NOW)
    first, second = (rule.run(view, transaction, environment, meter) for _ in range(2))
    assert first.steps > 3 * second.steps
    assert meter.steps == first.steps + second.steps
    outcomes = [rule.run(view, transaction, environment, meter) for _ in range(300)]
    assert ended(outcomes[-1])
    assert not ended(rule.run(view, transaction, environment))


def test_expressions_of_any_number_of_scripts_stay_few_in_memory() -> None:
    """However many there are in rules and scripts, only those used last are kept ready; all of them match."""
    number = 3 * regex._COMPILED
    scripts = [
        compile_script(f'require "regex"; if header :regex "subject" "^x{each}$" {{ discard; }}')
        for each in range(number)
    ]
    transaction, environment = Transaction("a@b.example", "c@d.example"), Environment(now=NOW)
    for each, script in enumerate(scripts):
        assert script.run(message(f"Subject: x{each}"), transaction, environment).actions == (Discard(),)
        assert script.run(message(f"Subject: y{each}"), transaction, environment).implicit_keep
    assert regex._compiled.cache_info().currsize == regex._COMPILED


def test_nothing_of_a_script_that_failed_is_done() -> None:
    """RFC 5228 §2.10.6: what it did before is forgotten."""
    result = run('require ["fileinto", "imap4flags"]; addflag "x"; fileinto "a"; discard; ' + 'fileinto "b";' * 1
                 + "".join(f'redirect "a{number}@b.example";' for number in range(5)))  # fmt: skip
    assert result.actions == (Keep(),)
    assert result.implicit_keep
    assert not result.stopped


EVERYTHING = """
require ["fileinto", "envelope", "imap4flags", "regex", "body", "variables", "date", "index", "relational", "mailbox",
    "editheader", "duplicate", "subaddress", "encoded-character", "vacation", "comparator-i;ascii-numeric",
    "comparator-i;unicode-casemap", "spamtest", "vnd.eider.rules", "copy"];
if header :matches "subject" "*" { set :lower "s" "${1}"; addflag "${s}"; }
if address :all :regex ["from", "to", "cc", "sender"] "(.+)@(.+)" { set "d" "${2}"; }
if address :detail :contains "to" ["a", "${d}"] { addflag "detail"; }
if header :count "gt" :comparator "i;ascii-numeric" "received" "10" { addflag "far"; }
if header :contains :comparator "i;unicode-casemap" ["subject", "x-a", "content-type"] ["ß", "${s}"] { addflag "b"; }
if date :value "lt" :originalzone "date" "year" "1990" { addflag "old"; }
if date :index 1 :last :matches "received" "std11" "*" { addheader "X-Received" "${0}"; }
if body :text :contains ["invoice", "${s}"] { addflag "invoice"; }
if body :raw :regex "[0-9]{5,}" { addflag "number"; }
if body :content ["text", "message/rfc822", "multipart", ""] :matches "*x*y*" { addflag "xy"; }
if hasattachment { addflag "file"; }
if duplicate :header "message-id" { addflag "again"; }
addheader :last "X-Subject" "${s}";
deleteheader :index 1 "subject";
if header :is "x-subject" "${s}" { addflag "same"; }
vacation :subject "Re: ${s}" :handle "${d}" "away ${s}";
fileinto :copy "lists";
"""


@pytest.mark.parametrize("hostile", HOSTILE, ids=str)
def test_every_hostile_message_has_an_outcome(hostile: object) -> None:
    """And one that says why, where the message is too much for the script."""
    script = check_script(EVERYTHING)
    assert script is not None
    raw = hostile.build()  # type: ignore[attr-defined]
    result = check_run(script, MessageView(raw))
    assert result.error is None or result.steps > LIMITS.steps or "header" in result.error, result.error
