"""What a token may do: one table of roles against resources.

The role names are those that clients of the API configure. A cell holds letters for what is allowed:
C, R, U, D on anybody's, c, r, u, d on the token's own user only. `anybody` ends at the token's
scope: a tenant's token with the role `root` is root of that tenant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a token is for."""

    ROOT = "root"
    MANAGER = "manager"
    """Manages users; reads no mail."""
    WEBMAIL = "webmail"
    """A webmail's backend."""
    USER = "user"
    """A user's own: everything that user may do for itself, mail protocols included."""
    AUTH = "auth"
    """Checks passwords, and gets no token for it."""
    TOKEN_AUTH = "tokenAuth"  # noqa: S105
    """Checks passwords and mints users' tokens."""
    ATTACHMENTS = "attachments"
    DOWNLOADER = "downloader"
    """Reads messages."""
    AUDIT = "audit"
    AUDIT_CLIENT = "auditclient"
    EXPORT = "export"
    SETTINGS = "settings"


class Resource(StrEnum):
    """What a role's grants are about."""

    ADDRESS_LISTING = "addresslisting"
    ADDRESSES = "addresses"
    AUTHENTICATION = "authentication"
    USER_LISTING = "userlisting"
    USERS = "users"
    APP_PASSWORDS = "asps"
    MESSAGES = "messages"
    ATTACHMENTS = "attachments"
    STORAGE = "storage"
    MAILBOXES = "mailboxes"
    AUTOREPLIES = "autoreplies"
    FILTERS = "filters"
    CERTS = "certs"
    DKIM = "dkim"
    DOMAIN_ACCESS = "domainaccess"
    DOMAIN_ALIASES = "domainaliases"
    WEBHOOKS = "webhooks"
    SETTINGS = "settings"
    AUDIT = "audit"
    EXPORT = "export"
    IMPORT = "import"
    TENANTS = "tenants"
    """Organisations; these three are served beside the portal."""
    DOMAINS = "domains"
    MEMBERS = "members"


class Action(StrEnum):
    """What is done to a resource; the value is its letter for one's own, the capital for anybody's."""

    CREATE = "c"
    READ = "r"
    UPDATE = "u"
    DELETE = "d"


@dataclass(frozen=True, slots=True)
class Grants:
    """One row of the table.

    Attributes:
        hidden_fields: fields of users that are neither shown to this role nor taken from it.
        update_fields: fields of users that it may change; None: all but the hidden ones.
        opens_mail: a user's token with this role signs in to mail protocols (OAUTHBEARER, XOAUTH2).
    """

    cells: Mapping[Resource, str]
    hidden_fields: frozenset[str] = frozenset()
    update_fields: frozenset[str] | None = None
    opens_mail: bool = False


_R = Resource
_EVERYTHING = dict.fromkeys(_R, "CRUD")
_OWN = (
    _R.ADDRESSES, _R.APP_PASSWORDS, _R.MESSAGES, _R.ATTACHMENTS, _R.STORAGE, _R.MAILBOXES, _R.AUTOREPLIES, _R.FILTERS,
)  # fmt: skip
_USER_MAY_CHANGE = frozenset(
    {
        "password", "existingPassword", "allowUnsafe", "language", "name", "targets", "mtaRelay", "spamLevel",
        "uploadSentMessages", "undoSend", "metaData", "pubKey", "smimeCerts", "smimeCipher", "smimeKeyTransport",
        "encryptMessages", "encryptForwarded", "retention", "disable2fa",
    }
)  # fmt: skip

_NOT_MANAGED = frozenset(
    {
        _R.MESSAGES, _R.ATTACHMENTS, _R.STORAGE, _R.MAILBOXES, _R.AUDIT, _R.EXPORT, _R.IMPORT, _R.TENANTS, _R.MEMBERS,
    }
)  # fmt: skip

ROLES: Mapping[Role, Grants] = {
    # audits, exports and imports copy whole accounts: not even root does that without a token made for it
    Role.ROOT: Grants({key: cell for key, cell in _EVERYTHING.items() if key not in {_R.AUDIT, _R.EXPORT, _R.IMPORT}}),
    Role.MANAGER: Grants({_R.TENANTS: "R", _R.MEMBERS: "R"} | {key: "CRUD" for key in _R if key not in _NOT_MANAGED}),
    Role.WEBMAIL: Grants(
        dict.fromkeys(_OWN, "CRUD")
        | {_R.AUTHENTICATION: "CR", _R.USERS: "RU", _R.ADDRESS_LISTING: "R", _R.DOMAIN_ACCESS: "CRUD", _R.WEBHOOKS: "R"}
    ),
    Role.USER: Grants(
        dict.fromkeys(_OWN, "crud")
        | {_R.ADDRESSES: "rud", _R.AUTHENTICATION: "rd", _R.USERS: "ru", _R.WEBHOOKS: "r"},  # addresses are given
        hidden_fields=frozenset({"internalData", "tags", "disabledScopes"}),
        update_fields=_USER_MAY_CHANGE,
        opens_mail=True,
    ),
    Role.AUTH: Grants({_R.AUTHENTICATION: "R"}),
    Role.TOKEN_AUTH: Grants({_R.AUTHENTICATION: "CR"}),
    Role.ATTACHMENTS: Grants({_R.ATTACHMENTS: "R"}),
    Role.DOWNLOADER: Grants({_R.MESSAGES: "R"}),
    Role.AUDIT: Grants({_R.AUDIT: "CRUD"}),
    Role.AUDIT_CLIENT: Grants({_R.AUDIT: "R"}),
    Role.EXPORT: Grants({_R.EXPORT: "CRUD", _R.IMPORT: "CRUD"}),
    Role.SETTINGS: Grants({_R.SETTINGS: "CRUD"}),
}


def may(role: Role, action: Action, resource: Resource, *, own: bool) -> bool:
    """Return whether a role may do this to a resource of anybody in its token's scope, or of its `own` user."""
    cell = ROLES[role].cells.get(resource, "")
    return action.value.upper() in cell or (own and action.value in cell)
