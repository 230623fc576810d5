"""What requests about users take, and what they are answered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from mailcore.api.fields import (
    Fields,
    Flag,
    Input,
    InputPart,
    Listing,
    LooseInput,
    Meta,
    Moment,
    Number,
    Output,
    Page,
    PresentPassword,
)
from mailcore.model.encryption import MAX_CERTIFICATE_CHARACTERS, MAX_CERTIFICATES, MAX_KEY_CHARACTERS

_Scope = Literal["imap", "pop3", "smtp"]
Pem = Annotated[str, StringConstraints(max_length=MAX_CERTIFICATE_CHARACTERS)]
MailboxName = Annotated[str, StringConstraints(min_length=1, max_length=512)]
Tag = Annotated[str, StringConstraints(max_length=128)]


def _password(given: Any) -> Any:
    return "" if given is False else given


Password = Annotated[
    str,
    BeforeValidator(_password),
    StringConstraints(max_length=256),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 256}, {"const": False}]}),
]
"""A password; false or "" where there shall be none."""


class ListUsers(Page, LooseInput):
    """Which users, and what of them."""

    query: Annotated[str, StringConstraints(max_length=255)] | None = None
    forward: Annotated[str, StringConstraints(max_length=255)] | None = None
    tags: Annotated[str, StringConstraints(max_length=1024)] | None = None
    required_tags: Annotated[str, StringConstraints(max_length=1024)] | None = None
    meta_data: Flag = False
    internal_data: Flag = False


class FeatureFlags(InputPart):
    """Everything is indexed here for everybody, whatever this says."""

    indexing: Flag = False


class MailboxNames(InputPart):
    """What mailboxes of a new user are called."""

    sent: MailboxName | None = None
    trash: MailboxName | None = None
    junk: MailboxName | None = None
    drafts: MailboxName | None = None


class UserFields(Input):
    """What may be set of a user, made or changed."""

    allow_unsafe: Flag = True
    hashed_password: Flag = False
    language: Annotated[str, StringConstraints(max_length=20)] | None = None
    name: Annotated[str, StringConstraints(max_length=256)] | None = None
    targets: list[Annotated[str, StringConstraints(max_length=1024)]] | None = None
    mta_relay: Annotated[str, StringConstraints(max_length=1024)] | None = None
    spam_level: Annotated[int, Field(ge=0, le=100)] | None = None
    quota: Number | None = None
    recipients: Number | None = None
    forwards: Number | None = None
    imap_max_upload: Number | None = None
    imap_max_download: Number | None = None
    pop3_max_download: Number | None = None
    imap_max_connections: Number | None = None
    filters: Number | None = None
    pop3_max_messages: Number | None = None
    received_max: Number | None = None
    """An hour; 0 is without limit."""
    retention: Number | None = None
    """Milliseconds; 0 is for ever."""
    pub_key: Annotated[str, StringConstraints(max_length=MAX_KEY_CHARACTERS)] | None = None
    smime_certs: Annotated[list[Pem], Field(max_length=MAX_CERTIFICATES)] | None = None
    smime_cipher: Literal["AES-CBC", "AES-GCM"] | None = None
    smime_key_transport: Literal["PKCS#1 v1.5", "OAEP"] | None = None
    encrypt_messages: Flag | None = None
    encrypt_forwarded: Flag | None = None
    feature_flags: FeatureFlags | None = None
    require2fa_enabled: Flag | None = None
    from_whitelist: list[Tag] | None = None
    tags: list[Tag] | None = None
    upload_sent_messages: Flag | None = None
    undo_send: Annotated[int, Field(ge=0, le=30)] | None = None
    """So many seconds nothing leaves that the user sent."""
    disabled_scopes: list[_Scope] | None = None
    meta_data: Meta | None = None
    internal_data: Meta | None = None


class CreateUser(UserFields):
    """A new user; its main address is `address`, or the user name where that is one."""

    keeps_empty = frozenset({"password", "pubKey"})

    username: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    password: Password
    address: Annotated[str, StringConstraints(max_length=1024)] | None = None
    empty_address: Flag = False
    """Not possible: every user has an address."""
    add_tags_to_address: Flag = False
    mailboxes: MailboxNames | None = None
    require_password_change: Flag = False
    tenant: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{24}$")] | None = None
    """Whose user it is; a tenant's token knows."""


class UpdateUser(UserFields):
    """What is to change of a user; what is left out stays."""

    keeps_empty = frozenset({"password", "pubKey"})

    existing_password: PresentPassword | None = None
    password: Password | None = None
    disable2fa: Flag | None = None
    disabled: Flag | None = None
    suspended: Flag | None = None
    protocol: str = "API"


class LogOut(Input):
    """What open sessions are told."""

    reason: Annotated[str, StringConstraints(max_length=128)] | None = None


class ResetPassword(Input):
    """From when the new password is good."""

    valid_after: Annotated[Moment | Literal[False] | None, Field()] = None


class Quota(Fields):
    """Bytes."""

    allowed: int
    used: int


class Used(Fields):
    """A limit and what of it is used; `ttl` is in how many seconds that ends, false where nothing is."""

    allowed: int
    used: int
    ttl: int | Literal[False] = False


class UserItem(Fields):
    """One user of a list."""

    id: str
    username: str
    name: str
    address: str
    tags: list[str]
    targets: list[str]
    enabled2fa: list[str]
    autoreply: bool
    encrypt_messages: bool
    encrypt_forwarded: bool
    quota: Quota
    meta_data: dict[str, Any] | None = None
    internal_data: dict[str, Any] | None = None
    has_password_set: bool
    activated: bool
    disabled: bool
    suspended: bool


class UserList(Listing):
    """A page of users."""

    query: str
    results: list[UserItem]


class Allowed(Fields):
    """A limit of what is not counted."""

    allowed: int


class UserUse(Fields):
    """What the user may use, and does."""

    quota: Quota
    recipients: Used
    forwards: Used
    imap_upload: Used
    imap_download: Used
    pop3_download: Used
    received: Used
    filters: Quota
    imap_max_connections: Quota
    pop3_max_messages: Allowed


class KeyShown(Fields):
    """Whose OpenPGP key it is."""

    name: str
    address: str
    fingerprint: str


class CertificateShown(Fields):
    """Whose certificate it is."""

    subject: str
    serial: str
    fingerprint: str


class UserAnswer(Output):
    """A user."""

    id: str
    username: str
    name: str
    address: str
    language: str
    enabled2fa: list[str]
    retention: int
    autoreply: bool
    encrypt_messages: bool
    encrypt_forwarded: bool
    pub_key: str
    key_info: KeyShown | Literal[False]
    smime_certs: list[str]
    smime_cipher: str
    smime_key_transport: str
    smime_cert_info: list[CertificateShown]
    meta_data: dict[str, Any]
    internal_data: dict[str, Any] | None = None
    targets: list[str]
    waiting_targets: list[str]
    """Those that get nothing until they are confirmed; who sets them again has the link mailed again."""
    mta_relay: str
    spam_level: int
    limits: UserUse
    tags: list[str] | None = None
    from_whitelist: list[str]
    upload_sent_messages: bool
    undo_send: int
    disabled_scopes: list[str] | None = None
    has_password_set: bool
    activated: bool
    disabled: bool
    suspended: bool
    last_pwned_check: str | None = None
    """Absent: passwords are looked at when they are chosen, and not again."""
    password_pwned: bool
    require2fa_enabled: bool
    require_password_change: bool


class NewUser(Output):
    """The id of a user."""

    id: str


class NewPassword(Output):
    """A password that its owner has to change."""

    password: str
    valid_after: str | None


class QuotaTask(Output):
    """The job that does it."""

    task: str


class StorageUse(Output):
    """What is in use, counted anew."""

    storage_used: int
    previous_storage_used: int
