"""Who may do what in the portal: one table from roles to permissions."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """As what somebody is signed in."""

    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    HELPDESK = "helpdesk"
    AUDITOR = "auditor"
    MAIL_USER = "mail_user"
    """Somebody with a mailbox, in his own account."""
    STAFF = "staff"
    """Of the platform, not of an organisation; never without a second factor."""


MEMBER_ROLES: Final = (Role.OWNER, Role.ADMIN, Role.BILLING, Role.HELPDESK, Role.AUDITOR)
"""Roles that members of an organisation have, the mightiest first."""


class Permission(StrEnum):
    """What a page or an action needs."""

    VIEW_ORGANISATION = "view_organisation"
    MANAGE_ORGANISATION = "manage_organisation"
    VIEW_MEMBERS = "view_members"
    MANAGE_MEMBERS = "manage_members"
    MANAGE_OWNERS = "manage_owners"
    VIEW_DOMAINS = "view_domains"
    MANAGE_DOMAINS = "manage_domains"
    VIEW_PEOPLE = "view_people"
    MANAGE_PEOPLE = "manage_people"
    HELP_PEOPLE = "help_people"
    """New passwords, second factors off, signing out: nothing that changes who receives what."""
    VIEW_BILLING = "view_billing"
    MANAGE_BILLING = "manage_billing"
    VIEW_DELIVERIES = "view_deliveries"
    """What became of mail: envelopes and answers, never content."""
    MANAGE_DELIVERIES = "manage_deliveries"
    VIEW_AUDIT = "view_audit"
    MANAGE_TOKENS = "manage_tokens"
    OWN_PROFILE = "own_profile"
    """A member's own sign-in: name, password, factors, sessions."""
    OWN_MAIL = "own_mail"
    """A mail user's own account."""
    STAFF_VIEW = "staff_view"
    STAFF_MANAGE = "staff_manage"


_VIEWS: Final = frozenset(
    {
        Permission.VIEW_ORGANISATION,
        Permission.VIEW_MEMBERS,
        Permission.VIEW_DOMAINS,
        Permission.VIEW_PEOPLE,
        Permission.VIEW_DELIVERIES,
        Permission.OWN_PROFILE,
    }
)
_ADMIN: Final = _VIEWS | {
    Permission.MANAGE_ORGANISATION,
    Permission.MANAGE_MEMBERS,
    Permission.MANAGE_DOMAINS,
    Permission.MANAGE_PEOPLE,
    Permission.HELP_PEOPLE,
    Permission.MANAGE_DELIVERIES,
    Permission.VIEW_BILLING,
    Permission.VIEW_AUDIT,
    Permission.MANAGE_TOKENS,
}

ROLES: Final[Mapping[Role, frozenset[Permission]]] = {
    Role.OWNER: _ADMIN | {Permission.MANAGE_OWNERS, Permission.MANAGE_BILLING},
    Role.ADMIN: _ADMIN,
    Role.BILLING: frozenset(
        {Permission.VIEW_ORGANISATION, Permission.VIEW_BILLING, Permission.MANAGE_BILLING, Permission.OWN_PROFILE}
    ),
    Role.HELPDESK: _VIEWS | {Permission.HELP_PEOPLE},
    Role.AUDITOR: _VIEWS | {Permission.VIEW_AUDIT, Permission.VIEW_BILLING},
    Role.MAIL_USER: frozenset({Permission.OWN_MAIL}),
    Role.STAFF: frozenset({Permission.STAFF_VIEW, Permission.STAFF_MANAGE, Permission.OWN_PROFILE}),
}


def allows(role: Role, permission: Permission) -> bool:
    """Tell whether a role has a permission."""
    return permission in ROLES[role]
