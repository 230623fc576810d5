"""The tests of RFC 5228 §5 that need no `require`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from mailcore.sieve.call import Call
from mailcore.sieve.forms import ADDRESSES, MANY, MATCHING, Form, Kind, TagForm, Test
from mailcore.sieve.run import Run


def _allof(call: Call) -> Test:
    """All hold; the rest is not looked at once one does not (RFC 5228 §5.2)."""
    tests = call.tests()
    return tests[0] if len(tests) == 1 else lambda run: all(test(run) for test in tests)


def _anyof(call: Call) -> Test:
    """One holds (RFC 5228 §5.3)."""
    tests = call.tests()
    return tests[0] if len(tests) == 1 else lambda run: any(test(run) for test in tests)


def _not(call: Call) -> Test:
    """It does not hold (RFC 5228 §5.8)."""
    (test,) = call.tests()
    return lambda run: not test(run)


def _constant(value: bool) -> Callable[[Call], Test]:
    return lambda _: lambda _run: value


def _size(call: Call) -> Test:
    """Larger or smaller, never equal (RFC 5228 §5.9)."""
    if not call.has("limit"):
        raise call.flaw('"size" needs ":over" or ":under".')
    limit = call.number(0)
    if call.tag("limit") == "over":
        return lambda run: run.message.size_bytes > limit
    return lambda run: run.message.size_bytes < limit


def _exists(call: Call) -> Test:
    """Each of the fields is there (RFC 5228 §5.5)."""
    names = call.field_names(0)
    return lambda run: all(map(run.headers.has, names(run)))


def _header(call: Call) -> Test:
    """A field's value matches (RFC 5228 §5.7)."""
    names, match, selection = call.field_names(0), call.match(1), call.selection()

    def values(run: Run) -> Sequence[str]:
        texts = [text for name in names(run) for text in run.headers.texts(name)]
        return texts if selection is None else texts[selection]

    only = call.only_field_name(0)
    if only is not None and selection is None:  # most tests are of one field
        return lambda run: match(run, run.headers.texts(only))
    return lambda run: match(run, values(run))


def _address(call: Call) -> Test:
    """An address in a field matches; of fields that hold addresses only (RFC 5228 §5.1)."""
    names, match, selection = call.field_names(0), call.match(1), call.selection()
    take = call.address_part()
    for name in call.texts(0):
        if isinstance(name, str) and not _ADDRESS_FIELD.fullmatch(name):
            raise call.flaw(f'"{name[:100]}" is no field of addresses: test it with "header".')

    def values(run: Run) -> Sequence[str]:
        fields = [addresses for name in names(run) for addresses in run.headers.addresses(name)]
        found = [address for each in (fields if selection is None else fields[selection]) for address in each]
        run.spend(len(found))
        return found if take is None else [part for part in map(take, found) if part is not None]

    return lambda run: match(run, values(run))


_ADDRESS_FIELD = re.compile(
    r"(?!in-reply-to)(?:[!-9;-~]+-)?(?:from|to|cc|bcc|sender|recipient|return-path)", re.IGNORECASE
)
"""Also those that others invent, such as X-Original-To."""

FORMS = (
    Form("allof", _allof, tests=(1, MANY), is_test=True),
    Form("anyof", _anyof, tests=(1, MANY), is_test=True),
    Form("not", _not, tests=(1, 1), is_test=True),
    Form("true", _constant(True), is_test=True),
    Form("false", _constant(False), is_test=True),
    Form(
        "size",
        _size,
        (Kind.NUMBER,),
        tags=(TagForm("over", group="limit"), TagForm("under", group="limit")),
        is_test=True,
    ),
    Form("exists", _exists, (Kind.STRINGS,), is_test=True),
    Form("header", _header, (Kind.STRINGS, Kind.STRINGS), groups=MATCHING, is_test=True),
    Form("address", _address, (Kind.STRINGS, Kind.STRINGS), groups=ADDRESSES, is_test=True),
)
