"""What must hold for every message, however broken; one function so that every source of messages is held to all."""

from __future__ import annotations

from mailcore.message.body_structure import body_from_body_structure, serialize_body_structure
from mailcore.message.envelope import header_date, message_ids, parse_addresses, serialize_envelope
from mailcore.message.headers import filter_fields, find_all, iter_fields, light_header_block
from mailcore.message.mime_tree import DEFAULT, MimeTree, PartKind, scan
from mailcore.message.parts_table import pack_parts, unpack_parts
from mailcore.message.preview import PREVIEW_CHARACTERS, has_attachment, preview
from mailcore.message.split import choose_blobs, decode, encode
from mailcore.message.text import is_encrypted, normalize, searchable_text
from mailcore.model.limits import ScanLimits
from mailcore.model.section import Section, SectionText
from tests.unit.message.imap_grammar import read_body, read_envelope

MAX_ENVELOPE = 300 * 1024
MAX_BODY_STRUCTURE = 900 * 1024


def check_message(raw: bytes, limits: ScanLimits = DEFAULT) -> MimeTree:
    """All properties of all parsers; returns the tree."""
    tree = scan(raw, limits)
    check_offsets(raw, tree)
    assert len(tree.parts) <= limits.parts
    assert depth(tree) <= limits.depth + 1
    header = raw[: tree.root.body_start]
    check_items(raw, tree, header)
    check_headers(header)
    check_table(raw, tree)
    check_cuts(raw, tree)
    check_text(raw, tree)
    return tree


def check_offsets(raw: bytes, tree: MimeTree) -> None:
    """Parts nest and follow each other; headers, bodies and what is between them make up the message."""
    assert tree.raw_size == len(raw)
    assert (tree.root.header_start, tree.root.body_end, tree.root.parent) == (0, len(raw), -1)
    pieces: list[tuple[int, int]] = []
    for index, part in enumerate(tree.parts):
        assert part.parent < index
        assert part.header_start <= part.body_start <= part.body_end
        children = [tree.parts[child] for child in tree.child_indexes(index)]
        assert bool(children) == (part.kind is not PartKind.LEAF)
        pieces.append((part.header_start, part.body_start))
        at = part.body_start
        for child in children:
            assert at <= child.header_start
            assert child.body_end <= part.body_end
            if part.is_multipart:
                assert b"--" in raw[at : child.header_start]
                pieces.append((at, child.header_start))
            at = child.body_end
        if part.is_message:
            (child,) = children
            assert (child.header_start, child.body_end) == (part.body_start, part.body_end)
        else:
            pieces.append((at, part.body_end))
    assert b"".join(raw[start:end] for start, end in sorted(pieces)) == raw


def depth(tree: MimeTree) -> int:
    """Levels of the tree."""
    depths = [1]
    for part in tree.parts[1:]:
        depths.append(depths[part.parent] + 1)
    return max(depths)


def check_items(raw: bytes, tree: MimeTree, header: bytes) -> None:
    """ENVELOPE, BODYSTRUCTURE and BODY follow the grammar and their bounds."""
    envelope = serialize_envelope(header)
    read_envelope(envelope)
    assert len(envelope) <= MAX_ENVELOPE
    extended = serialize_body_structure(tree, raw)
    structure = read_body(extended, extended=True)
    assert len(extended) <= MAX_BODY_STRUCTURE
    body = read_body(body_from_body_structure(extended), extended=False)
    assert _without_extension(structure) == body


def _without_extension(structure: dict[str, object]) -> dict[str, object]:
    kept = {name: value for name, value in structure.items() if name not in {"md5", "extension"}}
    if isinstance(kept.get("parts"), list):
        kept["parts"] = [_without_extension(part) for part in kept["parts"]]  # type: ignore[attr-defined]
        kept.pop("parameters")
    if isinstance(kept.get("body"), dict):
        kept["body"] = _without_extension(kept["body"])  # type: ignore[arg-type]
    return kept


def check_headers(header: bytes) -> None:
    """Fields lie one behind the other; filtering and its complement are a partition."""
    fields = list(iter_fields(header))
    at = 0
    for field in fields:
        assert at == field.start <= field.value_start <= field.end
        at = field.end
    assert header[at:] in {b"", b"\n", b"\r\n"} or header[at:].startswith((b"\n", b"\r\n"))
    names = (b"from", b"TO", b"Subject", b"x-nothing")
    taken = filter_fields(header, names)
    others = filter_fields(header, names, invert=True)
    assert taken.endswith(b"\r\n")
    assert len(taken) + len(others) - 4 - at in {0, 2}  # a last field without line end gets one
    light = light_header_block(header)
    assert light is None or filter_fields(light, names) == taken
    header_date(header)
    for name in (b"message-id", b"references"):
        assert all(found.startswith(b"<") and found.endswith(b">") for found in message_ids(header, name))
    for value in find_all(header, b"to")[:3]:
        for address in parse_addresses(value):
            assert "\n" not in address.name + address.address


def check_table(raw: bytes, tree: MimeTree) -> None:
    """The packed table finds what the tree has."""
    table = unpack_parts(pack_parts(tree))
    assert table.locate(Section()) == (0, len(raw))
    for index, part in enumerate(tree.parts[:200]):
        if not part.number or tree.find(part.number) is not part:
            continue
        assert table.locate(Section(part.number)) == (part.body_start, part.body_end)
        assert table.locate(Section(part.number, SectionText.MIME)) == (part.header_start, part.body_start)
        header = table.locate(Section(part.number, SectionText.HEADER))
        text = table.locate(Section(part.number, SectionText.TEXT))
        if part.is_message:
            child = tree.parts[index + 1]
            assert header == (child.header_start, child.body_start)
            assert text == (child.body_start, child.body_end)
        else:
            assert header is text is None


def check_cuts(raw: bytes, tree: MimeTree) -> None:
    """What remains and the blobs give the message back."""
    out: list[bytes] = []
    at = 0
    for cut in choose_blobs(tree, raw):
        body = raw[cut.start : cut.end]
        assert at <= cut.start < cut.end
        out.append(raw[at : cut.start])
        out.append(encode(decode(body, cut), cut))
        at = cut.end
    assert b"".join([*out, raw[at:]]) == raw


def check_text(raw: bytes, tree: MimeTree) -> None:
    """Text is text, and no more of it than was asked for."""
    text = searchable_text(raw, tree, 20_000)
    assert len(text.encode("utf-8", "replace")) <= 20_000
    assert normalize(normalize(text)) == normalize(text)
    shown = preview(raw, tree)
    assert len(shown) <= PREVIEW_CHARACTERS
    assert "\n" not in shown
    has_attachment(tree)
    is_encrypted(tree)
