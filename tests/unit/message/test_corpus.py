"""The corpus of other projects' messages, with its own line ends and with CRLF (EIDER_SHARED)."""

from __future__ import annotations

import email
import email.message
import email.policy
import email.utils
from collections.abc import Iterator

import pytest

from mailcore.message.body_structure import serialize_body_structure
from mailcore.message.envelope import header_date, serialize_envelope
from mailcore.message.mime_tree import PartKind, scan
from mailcore.message.transfer import KNOWN_ENCODINGS, decode_transfer
from tests.corpus import corpus_as_crlf, iter_corpus
from tests.unit.message.checks import check_message
from tests.unit.message.imap_grammar import imapclient_reads

_AS_IS = dict(iter_corpus())
_CRLF = dict(corpus_as_crlf())

pytestmark = pytest.mark.skipif(not _AS_IS, reason="no corpus: EIDER_SHARED names no folder that has one")


@pytest.mark.parametrize("name", _AS_IS)
def test_corpus_message_holds_all_properties(name: str) -> None:
    check_message(_AS_IS[name])
    check_message(_CRLF[name])


@pytest.mark.parametrize("name", _AS_IS)
def test_imapclient_reads_its_envelope_and_body_structure(name: str) -> None:
    raw = _CRLF[name]
    tree = scan(raw)
    imapclient_reads("ENVELOPE", serialize_envelope(raw[: tree.root.body_start]))
    structure = imapclient_reads("BODYSTRUCTURE", serialize_body_structure(tree, raw))
    assert structure.is_multipart == tree.root.is_multipart


def test_sane_messages_are_what_the_standard_library_says() -> None:
    """Same parts, same types, same decoded bytes as the email package, where that finds no fault."""
    compared = 0
    for name, raw in _CRLF.items():
        message = email.message_from_bytes(raw, policy=email.policy.compat32)
        if any(part.defects for part in message.walk()) or name.partition("/")[2] in _JUDGED_OTHERWISE:
            continue
        theirs = list(_walk(message))
        parts = scan(raw).parts
        assert [f"{part.type}/{part.subtype}" for part in parts] == [part.get_content_type() for part in theirs], name
        for our, their in zip(parts, theirs, strict=True):
            if our.kind is PartKind.LEAF and our.type != "message" and our.encoding in KNOWN_ENCODINGS:
                decoded = decode_transfer(raw[our.body_start : our.body_end], our.encoding)
                assert decoded == their.get_payload(decode=True), (name, our.number)
        compared += 1
    assert compared > 200


def _walk(message: email.message.Message) -> Iterator[email.message.Message]:
    """The parts that IMAP counts: the email package also takes apart delivery reports and their like."""
    yield message
    kind = message.get_content_type()
    if message.is_multipart() and (kind.startswith("multipart/") or kind in {"message/rfc822", "message/global"}):
        for part in message.get_payload():
            yield from _walk(part)


_JUDGED_OTHERWISE = {
    # Two delimiters one after the other: an empty part lies between them, RFC 2046 §5.1.1; they see one delimiter.
    "msg_37.txt.eml",
    "mimetools-testmsgs_2002_06_12_doublebound.msg.eml",
    "mimetools-testmsgs_double-bound.msg.eml",
    "malformed_000.eml",
    # `application/pdf name=...` without a semicolon: they take all of it for the type.
    "mail_mime-bad-content-type.raw.eml",
    "mail_mime-blank-media-name.raw.eml",
    # Text that is not base64 though declared so, and base64 with a fault in it: they do not decode.
    "mail_mime-bad-content-transfer-encoding.raw.eml",
    "mimetools-testmsgs_twopart.msg.eml",
    # Blanks behind the name of the encoding: they do not recognize it.
    "thirdparty_003.eml",
}


@pytest.mark.parametrize("name", _AS_IS)
def test_date_is_what_the_standard_library_says(name: str) -> None:
    raw = _CRLF[name]
    ours = header_date(raw[: scan(raw).root.body_start])
    value = email.message_from_bytes(raw)["date"]
    try:
        theirs = email.utils.mktime_tz(email.utils.parsedate_tz(str(value)))
    except (TypeError, ValueError, OverflowError):
        return
    assert ours is None or ours == theirs
