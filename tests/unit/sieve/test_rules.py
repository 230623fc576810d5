"""What users' rules need: trees that are built, and the tests and actions of our own."""

from __future__ import annotations

import pytest

from mailcore.errors import ScriptInvalid
from mailcore.sieve import (
    Command,
    Environment,
    MessageView,
    Outcome,
    Reply,
    Tag,
    Transaction,
    compile_commands,
    compile_script,
)
from tests.unit.sieve.checks import check_script
from tests.unit.sieve.scripts import NOW, holds, message, run, told

ATTACHMENT = message(
    "Subject: x",
    "Content-Type: multipart/mixed; boundary=b",
    body="--b\n\ntext\n--b\nContent-Type: application/pdf\nContent-Disposition: attachment\n\nx\n--b--\n",
)


def built(*commands: Command, view: MessageView | None = None) -> Outcome:
    """What becomes of a message by commands that were built."""
    transaction = Transaction("bob@example.net", "alice@example.org")
    return compile_commands(commands).run(view or message("Subject: Hello"), transaction, Environment(now=NOW))


def contains(name: str, text: str) -> Command:
    """A test as rules make it."""
    return Command("header", Tag("contains"), Tag("comparator"), "i;unicode-casemap", name, text)


def test_a_rule_as_a_tree_does_what_its_text_does() -> None:
    rule = Command(
        "if",
        tests=(Command("allof", tests=(contains("subject", "hello"), Command("not", tests=(contains("cc", "x"),)))),),
        block=(
            Command("addflag", ("\\Seen", "$Done")),
            Command("fileinto", Tag("mailboxid"), "65a", "Work"),
            Command("redirect", Tag("copy"), "a@b.example"),
            Command("stop"),
        ),
    )
    text = """require ["imap4flags", "fileinto", "mailboxid", "copy", "comparator-i;unicode-casemap"];
        if allof (header :contains :comparator "i;unicode-casemap" "subject" "hello",
                  not header :contains :comparator "i;unicode-casemap" "cc" "x") {
            addflag ["\\\\Seen", "$Done"]; fileinto :mailboxid "65a" "Work"; redirect :copy "a@b.example"; stop;
        }"""
    assert built(rule, Command("discard")) == run(text + "discard;", message("Subject: Hello"))


@pytest.mark.parametrize("text", ['"; discard; #', "${1}", "${hex:41}", "\\", '"', "*", "\r\n.\r\n", "text:\n", "]}"])
def test_no_text_of_a_rule_means_more_than_it_says(text: str) -> None:
    """Whatever people write into a rule stays a text."""
    rule = Command("if", tests=(contains("x", text),), block=(Command("fileinto", "yes"),))
    subject = " ".join(text.split())
    assert built(rule).implicit_keep
    if text == subject:
        assert not built(rule, view=message(f"X: a {text} b")).implicit_keep


@pytest.mark.parametrize(
    "command",
    [
        Command("redirect", "nobody"),
        Command("fileinto", "a//b"),
        Command("if", tests=(Command("header", Tag("regex"), "subject", "("),), block=()),
        Command("if", tests=(Command("header", "a:b", "c"),), block=()),
        Command("nothing"),
        Command("keep", 7),
    ],
)
def test_what_no_rule_may_hold_is_refused(command: Command) -> None:
    with pytest.raises(ScriptInvalid):
        compile_commands([command])


@pytest.mark.parametrize(
    ("test", "circumstances", "expected"),
    [
        ("hasattachment", {"view": ATTACHMENT}, True),
        ("hasattachment", {}, False),
        ("isspam", {"is_spam": True}, True),
        ("isspam", {"is_spam": False}, False),
        ("isspam", {}, False),
        ('spamscore :over "4.5"', {"spam_score": 4.6}, True),
        ('spamscore :over "4.5"', {"spam_score": 4.5}, False),
        ('spamscore :under "-1"', {"spam_score": -1.5}, True),
        ('spamscore :under "100"', {}, False),
    ],
)
def test_tests_of_rules(test: str, circumstances: dict[str, object], expected: bool) -> None:
    assert holds(test, require="vnd.eider.rules", **circumstances) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize("test", ["spamscore", 'spamscore "5"', 'spamscore :over "high"', "spamscore :over 5"])
def test_scores_that_are_none_are_refused(test: str) -> None:
    with pytest.raises(ScriptInvalid):
        compile_script(f'require "vnd.eider.rules"; if {test} {{ keep; }}')


@pytest.mark.parametrize("url", ["subject", "https://user@host.test/", "ftp://host.test/", "smtp://host.test:99"])
def test_urls_that_mail_is_not_sent_to_are_refused_with_a_sentence(url: str) -> None:
    assert check_script(f'require "vnd.eider.rules"; sendto "{url}";') is None


def test_actions_of_rules_leave_the_implicit_keep() -> None:
    script = 'require "vnd.eider.rules"; markspam; markham; reply :subject "Re" :handle "7" "thanks";'
    assert told(script) == ["ham", "reply thanks", "implicit keep"]
    (reply, _) = run('require "vnd.eider.rules"; reply :seconds 86400 "thanks";').actions
    assert isinstance(reply, Reply)
    assert (reply.seconds, reply.subject) == (86400, None)


def test_several_replies_are_told_apart() -> None:
    replies = run(
        'require "vnd.eider.rules"; reply "a"; reply "b"; reply :handle "1" "a"; reply :handle "2" "a";'
    ).actions
    assert len({each.handle for each in replies if isinstance(each, Reply)}) == 4


def test_outcome_says_whether_later_programs_are_wanted() -> None:
    assert not built(Command("addflag", "x")).stopped
    assert built(Command("stop")).stopped
    assert built(Command("stop")).implicit_keep
