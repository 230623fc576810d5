"""`addheader` and `deleteheader` (RFC 5293)."""

from __future__ import annotations

from mailcore.message.encoded_words import decode_header, encode_header
from mailcore.message.headers import Field, iter_fields, unfold
from mailcore.sieve.call import Call, field_name, text_value
from mailcore.sieve.forms import MATCHING, Extension, Form, Kind, Step, TagForm
from mailcore.sieve.headers import Headers
from mailcore.sieve.meter import Failed
from mailcore.sieve.run import Run, Text

_PROTECTED = frozenset({b"received", b"return-path", b"delivered-to", b"auto-submitted", b"authentication-results"})
"""What ends loops and tells where a message has been: attempts are ignored (RFC 5293 §6)."""
_EDITING = 6
"""Going through 2 to the power of this many octets of header is a step."""


def _addheader(call: Call) -> Step:
    """Put a field in front, or at the end with `:last` (RFC 5293 §4)."""
    name, value = call.text(0), call.text(1)
    _check_name(call, name)
    at_end = call.has("last")

    def addheader(run: Run) -> None:
        written = text_value(name, run)
        if _lowered(written) in _PROTECTED or _is_seal(written):
            return
        field = encode_header(text_value(value, run), written)
        header = run.headers.raw
        at = _end_of_fields(header) if at_end else 0
        missing = b"\r\n" if at and not header.endswith(b"\n", 0, at) else b""
        _edit(run, header[:at] + missing + field + header[at:])

    return addheader


def _deleteheader(call: Call) -> Step:
    """Take out fields of a name: all, or those that match (RFC 5293 §5)."""
    name, selection = call.text(0), call.selection()
    _check_name(call, name)
    match = call.match(1) if call.texts(1) else None

    def deleteheader(run: Run) -> None:
        written = text_value(name, run)
        lowered = _lowered(written)
        if lowered in _PROTECTED or _is_seal(written) or not run.headers.has(lowered):
            return
        header = run.headers.raw
        run.spend(len(header) >> _EDITING)
        fields = [field for field in iter_fields(header) if field.name == lowered]
        if selection is not None:
            fields = fields[selection]
        if match is not None:
            fields = [field for field in fields if match(run, (_text(header, field),))]
        if fields:
            _edit(run, _without(header, fields))

    return deleteheader


def _check_name(call: Call, name: Text) -> None:
    if isinstance(name, str) and field_name(name) is None:
        raise call.flaw(f'"{name[:100]}" is not the name of a header field: write it without the colon.')


def _lowered(name: str) -> bytes:
    lowered = field_name(name)
    if lowered is None:
        raise Failed(f'"{name[:100]}" is not the name of a header field.')
    return lowered


def _is_seal(name: str) -> bool:
    """Whether it belongs to the chain of custody (RFC 8617)."""
    return name.lower().startswith("arc-")


def _text(header: bytes, field: Field) -> str:
    return decode_header(unfold(header[field.value_start : field.end]))


def _end_of_fields(header: bytes) -> int:
    """Where the blank line begins."""
    for blank in (b"\r\n", b"\n"):
        if header == blank or header.endswith(b"\n" + blank):
            return len(header) - len(blank)
    return len(header)


def _without(header: bytes, fields: list[Field]) -> bytes:
    kept, position = [], 0
    for field in fields:
        kept.append(header[position : field.start])
        position = field.end
    return b"".join([*kept, header[position:]])


def _edit(run: Run, header: bytes) -> None:
    """Go on with this header."""
    run.edits += 1
    if run.edits > run.limits.header_edits:
        raise Failed(f"The script changes the header more than {run.limits.header_edits} times.")
    if not run.message.has_whole_header:
        raise Failed("The header of this message is too large to be changed.")
    run.spend(len(header) >> _EDITING)
    run.headers = Headers(header)
    run.edited = header


EXTENSION = Extension(
    "editheader",
    forms=(
        Form("addheader", _addheader, (Kind.STRING, Kind.STRING), tags=(TagForm("last"),)),
        Form(
            "deleteheader",
            _deleteheader,
            (Kind.STRING, Kind.STRINGS),
            optional=1,
            tags=(TagForm("index", Kind.NUMBER), TagForm("last")),
            groups=MATCHING,
        ),
    ),
)
