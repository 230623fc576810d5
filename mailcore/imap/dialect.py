"""What a client has enabled that changes how the mailbox's changes are told (RFC 5161)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """How responses are worded for one client.

    Attributes:
        condstore: FETCH responses carry MODSEQ (RFC 7162 §3.1).
        qresync: VANISHED takes the place of EXPUNGE (RFC 7162 §3.2).
        rev2: the client speaks IMAP4rev2 (RFC 9051 appendix E).
    """

    condstore: bool = False
    qresync: bool = False
    rev2: bool = False


PLAIN = Dialect()
