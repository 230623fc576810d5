"""Every limit of the mail system, in one place."""

from __future__ import annotations

from dataclasses import dataclass, field

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class ScanLimits:
    """Past these a message's structure is opaque; its bytes are kept all the same."""

    parts: int = 10_000
    depth: int = 100
    header_bytes: int = 1 * MIB
    line_bytes: int = 1 * MIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits that hold unless a tenant has others."""

    message_bytes: int = 64 * MIB
    scan: ScanLimits = field(default_factory=ScanLimits)
    mailboxes: int = 1500
    mailbox_depth: int = 32
    mailbox_part_bytes: int = 255
    keywords: int = 56
    keyword_bytes: int = 255
    recipients: int = 1000
    over_quota_grace_s: int = 24 * 3600
    log_entry_bytes: int = 2048
    log_bytes: int = 256 * 1024
    fold_entries: int = 64
    fold_bytes: int = 32 * 1024
    segment_rows: int = 4096
    recent_keys: int = 64
    old_segment_s: int = 600
    message_document_bytes: int = 1 * MIB
    chunk_bytes: int = 1 * MIB
    command_bytes_before_login: int = 8 * 1024
    command_bytes: int = 64 * 1024
    login_deadline_s: int = 60
    idle_timeout_s: int = 30 * 60


DEFAULT_LIMITS = Limits()
