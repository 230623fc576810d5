"""From a rule to the commands of a Sieve script: one engine evaluates both."""

from __future__ import annotations

from dataclasses import replace

from mailcore.errors import ScriptInvalid, ValueInvalid
from mailcore.model.filter import MAX_TARGETS, Condition, Match, Part, Query, RuleAction, RuleContent
from mailcore.model.flags import FLAGGED, SEEN, SYSTEM_FLAGS
from mailcore.model.forward_target import is_url
from mailcore.model.limits import DEFAULT_LIMITS
from mailcore.model.mailbox import INBOX
from mailcore.sieve import Command, Script, Tag, compile_commands

LIMITS = replace(DEFAULT_LIMITS.sieve, redirects=MAX_TARGETS, actions=MAX_TARGETS + 8)
_CASE = (Tag("comparator"), "i;unicode-casemap")
_HEADERS = {
    Part.SENDER: ("from",),
    Part.RECIPIENTS: ("to", "cc", "delivered-to"),
    Part.SUBJECT: ("subject",),
    Part.LIST_ID: ("list-id",),
}
_MATCHES = {Match.CONTAINS: "contains", Match.IS: "is", Match.WILDCARDS: "matches", Match.REGEX: "regex"}


def compile_rule(content: RuleContent) -> Script:
    """Compile a rule.

    Raises:
        ValueInvalid: a value cannot be used, such as a regular expression that is none.
    """
    try:
        return compile_commands(_commands(content), LIMITS)
    except ScriptInvalid as error:
        raise ValueInvalid(error.what) from error


def _commands(content: RuleContent) -> tuple[Command, ...]:
    block = _actions(content.action)
    if content.stops:
        block += (Command("stop"),)
    tests = _tests(content.query)
    if not tests:
        return block
    test = Command("anyof" if content.query.any_of else "allof", tests=tests)
    return (Command("if", tests=(test,), block=block),)


def _tests(query: Query) -> tuple[Command, ...]:
    named = (
        (Part.SENDER, query.sender),
        (Part.RECIPIENTS, query.recipients),
        (Part.SUBJECT, query.subject),
        (Part.LIST_ID, query.list_id),
        (Part.TEXT, query.text),
    )
    tests = [_condition(Condition(part, Match.CONTAINS, value)) for part, value in named if value]
    if query.has_attachments is not None:
        tests.append(_holds(Command("hasattachment"), query.has_attachments))
    if query.larger_than is not None:
        tests.append(Command("size", Tag("over"), query.larger_than))
    if query.smaller_than is not None:
        tests.append(Command("size", Tag("under"), query.smaller_than))
    if query.score_over is not None:
        tests.append(Command("spamscore", Tag("over"), str(query.score_over)))
    if query.score_under is not None:
        tests.append(Command("spamscore", Tag("under"), str(query.score_under)))
    if query.is_spam is not None:
        tests.append(_holds(Command("isspam"), query.is_spam))
    return (*tests, *map(_condition, query.conditions))


def _condition(condition: Condition) -> Command:
    return _holds(_compared(condition), not condition.negated)


def _compared(condition: Condition) -> Command:
    if condition.match is Match.EXISTS:
        return Command("exists", condition.header)
    how = (*_CASE, Tag(_MATCHES[condition.match]))
    value = condition.value
    if condition.part is Part.TEXT:
        return Command("body", Tag("text"), *how, value)
    if condition.part is Part.REVERSE_PATH:
        return Command("envelope", *how, "from", value)
    test = Command("header", *how, _HEADERS.get(condition.part, (condition.header,)), value)
    if condition.part is Part.RECIPIENTS:
        return Command("anyof", tests=(test, Command("envelope", *how, "to", value)))
    return test


def _holds(test: Command, wanted: bool) -> Command:
    return test if wanted else Command("not", tests=(test,))


def _actions(action: RuleAction) -> tuple[Command, ...]:
    commands = []
    flags = _flags(action)
    if flags:
        commands.append(Command("addflag", flags))
    if action.spam is not None:
        commands.append(Command("markspam" if action.spam else "markham"))
    commands += [
        Command("sendto", target) if is_url(target) else Command("redirect", Tag("copy"), target)
        for target in action.targets
    ]
    if action.reply is not None:
        subject = (Tag("subject"), action.reply.subject) if action.reply.subject else ()
        commands.append(Command("reply", *subject, Tag("seconds"), action.reply.every_s, action.reply.text))
    if action.delete:
        commands.append(Command("discard"))
    elif action.mailbox_id is not None:
        commands.append(Command("fileinto", Tag("mailboxid"), str(action.mailbox_id), INBOX))
    elif action.mailbox_name is not None:
        commands.append(Command("fileinto", Tag("create"), action.mailbox_name))
    return tuple(commands)


def _flags(action: RuleAction) -> tuple[str, ...]:
    system = action.flags.system | (SEEN if action.seen else 0) | (FLAGGED if action.flagged else 0)
    return (*(name for name, bit in SYSTEM_FLAGS.items() if system & bit), *action.flags.keywords)
