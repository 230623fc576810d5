"""What BODY[...] names: a part and which of its text is meant (RFC 9051 §6.4.5, rule `section`)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SectionText(Enum):
    """Which bytes of the part (rule `section-text`)."""

    WHOLE = ""
    HEADER = "HEADER"
    HEADER_FIELDS = "HEADER.FIELDS"
    HEADER_FIELDS_NOT = "HEADER.FIELDS.NOT"
    TEXT = "TEXT"
    MIME = "MIME"


@dataclass(frozen=True, slots=True)
class Section:
    """A section; the empty one is the whole message.

    Attributes:
        part_number: numbers from 1, as in RFC 9051 §6.4.5.1; empty for the message itself.
        text: MIME needs a part number (rule `section-text`).
        fields: field names as the client wrote them; only with HEADER_FIELDS and HEADER_FIELDS_NOT.
    """

    part_number: tuple[int, ...] = ()
    text: SectionText = SectionText.WHOLE
    fields: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if any(number < 1 for number in self.part_number):
            raise ValueError("part numbers start at 1")
        if self.text is SectionText.MIME and not self.part_number:
            raise ValueError("MIME needs a part number")
        if bool(self.fields) != (self.text in {SectionText.HEADER_FIELDS, SectionText.HEADER_FIELDS_NOT}):
            raise ValueError("field names belong to HEADER.FIELDS and HEADER.FIELDS.NOT, which need them")


WHOLE_MESSAGE = Section()
