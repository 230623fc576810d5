"""Identifiers that must not be mixed up."""

from __future__ import annotations

from typing import NewType

from bson import ObjectId

TenantId = NewType("TenantId", ObjectId)
UserId = NewType("UserId", ObjectId)
MailboxId = NewType("MailboxId", ObjectId)
MessageOid = NewType("MessageOid", bytes)
"""12 bytes that name a stored message of one user; several mailbox rows may point at it."""

MailboxName = NewType("MailboxName", str)
"""Full mailbox name in Unicode NFC, parts joined by "/"; "INBOX" in capitals."""

Uid = NewType("Uid", int)
UidValidity = NewType("UidValidity", int)
ModSeq = NewType("ModSeq", int)
"""Position in the mailbox's log, RFC 7162 §3.1; the first change of a mailbox is 1."""

ThreadId = NewType("ThreadId", int)
"""Unsigned 64-bit: HMAC of the user and the first message id of the conversation."""
