"""What users' rules can do and standard Sieve cannot; scripts may require it as "vnd.eider.rules"."""

from __future__ import annotations

from collections.abc import Callable

from mailcore.errors import ValueInvalid
from mailcore.message.encoded_words import clean
from mailcore.model.forward_target import read_target_url
from mailcore.sieve.actions import MarkSpam, Redirect, Reply
from mailcore.sieve.call import Call, text_value
from mailcore.sieve.extensions.vacation import digest
from mailcore.sieve.forms import Extension, Form, Kind, Step, TagForm, Test
from mailcore.sieve.run import Run

_SUBJECT_CHARACTERS = 500


def _hasattachment(_: Call) -> Test:
    """Whether the message carries a file."""
    return lambda run: run.message.has_attachment


def _spamscore(call: Call) -> Test:
    """`spamscore :over "4.5"` or `:under`: what the spam filter counted; false where it did not look."""
    if not call.has("limit"):
        raise call.flaw('"spamscore" needs ":over" or ":under".')
    try:
        limit = float(call.constant(call.text(0), "A score"))
    except ValueError as error:
        raise call.flaw('A score is a number such as "4.5".') from error
    over = call.tag("limit") == "over"

    def test(run: Run) -> bool:
        score = run.environment.spam_score
        return score is not None and (score > limit if over else score < limit)

    return test


def _isspam(_: Call) -> Test:
    """Whether the message was found to be spam."""
    return lambda run: run.environment.is_spam is True


def _mark(value: bool) -> Callable[[Call], Step]:
    """Say that it is spam, or is not; the implicit keep then goes by that."""
    return lambda _: lambda run: run.do(MarkSpam(value))


def _sendto(call: Call) -> Step:
    """Send it to a URL as well; the implicit keep stays."""
    url = call.constant(call.text(0), "A URL")
    try:
        read_target_url(url)
    except ValueInvalid as error:
        raise call.flaw(f"{error}.") from error
    return lambda run: run.do(Redirect(address=url, copy=True, header=run.edited))


def _reply(call: Call) -> Step:
    """Answer the sender with a fixed text, once in so many seconds; the implicit keep stays."""
    text, subject, handle = call.text(0), call.tag_text("subject"), call.tag_text("handle")
    given = call.tag_number("seconds")
    seconds = min(max(given or 0, call.limits.vacation_least_s), call.limits.vacation_most_s)

    def reply(run: Run) -> None:
        title = clean(text_value(subject, run))[:_SUBJECT_CHARACTERS] if subject is not None else None
        said = text_value(text, run)
        told = digest("reply", text_value(handle, run)) if handle is not None else digest("reply", said, title)
        run.do(Reply(text=said, seconds=seconds, handle=told, subject=title))

    return reply


EXTENSION = Extension(
    "vnd.eider.rules",
    forms=(
        Form("hasattachment", _hasattachment, is_test=True),
        Form("isspam", _isspam, is_test=True),
        Form(
            "spamscore",
            _spamscore,
            (Kind.STRING,),
            tags=(TagForm("over", group="limit"), TagForm("under", group="limit")),
            is_test=True,
        ),
        Form("markspam", _mark(True)),
        Form("markham", _mark(False)),
        Form("sendto", _sendto, (Kind.STRING,)),
        Form(
            "reply",
            _reply,
            (Kind.STRING,),
            tags=(
                TagForm("subject", Kind.STRING),
                TagForm("handle", Kind.STRING),
                TagForm("seconds", Kind.NUMBER),
            ),
        ),
    ),
)
