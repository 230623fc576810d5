"""Values of arguments, checked before anything is asked of a service."""

from __future__ import annotations

import argparse

from bson import ObjectId
from bson.errors import InvalidId

from mailcore.errors import ValueInvalid
from mailcore.model.access import CAN_BE_DISABLED, Protocol
from mailcore.model.quota import parse_size


def object_id(text: str) -> ObjectId:
    """Return the id that a list showed."""
    try:
        return ObjectId(text)
    except (InvalidId, TypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not an id: 24 hexadecimal digits") from None


def quota_of(text: str) -> int:
    """Return the bytes of a size such as 5G.

    Raises:
        ValueInvalid: it is none.
    """
    try:
        return parse_size(text)
    except ValueError as error:
        raise ValueInvalid(str(error)) from error


def add_protocols(parser: argparse.ArgumentParser) -> None:
    """Add which protocols are to be off."""
    parser.add_argument(
        "--off",
        type=_protocols,
        required=True,
        metavar="NAMES",
        help=f'separated by commas: {protocol_names(CAN_BE_DISABLED)}; or "none"',
    )


def protocol_names(protocols: frozenset[Protocol]) -> str:
    """Return them as they are listed."""
    return ", ".join(sorted(protocols)) or "none"


def _protocols(text: str) -> frozenset[Protocol]:
    names = set() if text == "none" else {name.strip().lower() for name in text.split(",")}
    if not names <= CAN_BE_DISABLED:
        raise argparse.ArgumentTypeError(f"{text!r} is not among {protocol_names(CAN_BE_DISABLED)}")
    return frozenset(Protocol(name) for name in names)
