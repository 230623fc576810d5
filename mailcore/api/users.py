"""Users: who they are, what they may use, what is set for their mail."""

from __future__ import annotations

from typing import Any, Final

from bson import ObjectId

from mailcore.api.addresses import words
from mailcore.api.call import Call
from mailcore.api.encryption import set_encryption, shown_encryption
from mailcore.api.errors import ApiError, invalid
from mailcore.api.fields import (
    Nothing,
    Output,
    instant,
    meta_value,
)
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import cursor_id, cut, position
from mailcore.api.second_factors import secret_of
from mailcore.api.steps import Change
from mailcore.api.user_changes import NAMED, check_new, settings_of
from mailcore.api.user_fields import (
    CreateUser,
    ListUsers,
    LogOut,
    NewPassword,
    NewUser,
    QuotaTask,
    ResetPassword,
    StorageUse,
    UpdateUser,
    UserAnswer,
    UserFields,
    UserList,
)
from mailcore.errors import AddressInvalid, AuthenticationFailed, PasswordChangeNeeded, UserNotFound
from mailcore.model.access import Protocol
from mailcore.model.address import Address
from mailcore.model.address_data import NO_DATA
from mailcore.model.filter import of_user
from mailcore.model.ids import TenantId, UserId
from mailcore.model.limits import Spending, Traffic, UserLimits
from mailcore.model.mailbox import parse_mailbox_name
from mailcore.model.roles import Action, Resource
from mailcore.model.secret import Secret
from mailcore.model.tenant import State, User
from mailcore.model.user_filter import UserFilter
from mailcore.model.user_settings import UserSettings

DAY_S: Final = 24 * 3600
LIMITS: Final = {
    "recipients": "recipients_per_day",
    "forwards": "forwards_per_day",
    "imap_max_upload": "imap_upload_bytes_per_day",
    "imap_max_download": "imap_download_bytes_per_day",
    "pop3_max_download": "pop3_download_bytes_per_day",
    "imap_max_connections": "connections",
    "filters": "filters",
    "received_max": "received_per_hour",
    "pop3_max_messages": "pop3_messages",
}
"""Field of a request -> limit of ours."""


def list_users(call: Call, given: ListUsers) -> dict[str, Any]:
    """Return a page of the users that the token sees; three round trips, and one for each user's bytes not known."""
    wanted = UserFilter(
        call.tenant_id, given.query or "", given.forward or "", words(given.tags), words(given.required_tags)
    )
    at = position(given)
    edge = UserId(cursor_id(at.key)) if at.key is not None else None
    found, total = call.services.users.search(
        wanted, after=None if at.is_backwards else edge, before=edge if at.is_backwards else None, limit=given.limit + 1
    )
    page, cursors = cut(found, at, given.limit, lambda user: str(user.id))
    with_password = call.services.users.passwords_set([user.id for user in page])
    return {
        "total": total,
        **cursors,
        "query": given.query or "",
        "results": [_item(call, user, given, has_password=user.id in with_password) for user in page],
    }


def get_user(call: Call, _: Nothing) -> dict[str, Any]:
    """Return a user, and what it uses; the bytes are of now, for one round trip."""
    user = call.services.users.get(call.owner)
    used = call.services.usage.used(user.id)
    limits = call.services.usage.limits(user.id)
    settings = user.settings
    found: dict[str, Any] = {
        "id": str(user.id),
        "username": user.address,
        "name": user.name,
        "address": user.address,
        "language": settings.language,
        "retention": settings.expires_after_s * 1000,
        **_states(user),
        **shown_encryption(user),
        "autoreply": user.autoreply_version > 0,
        "metaData": meta_value(settings.meta_data),
        "internalData": meta_value(settings.internal_data),
        "targets": list(settings.targets),
        "waitingTargets": call.services.targets.waiting(user, settings.targets if settings.targets_ask else ()),
        "mtaRelay": settings.mta_relay,
        "spamLevel": settings.spam_level,
        "limits": _use(call, user, limits, used),
        "tags": list(settings.tags),
        "fromWhitelist": list(settings.from_whitelist),
        "uploadSentMessages": settings.uploads_sent,
        "undoSend": settings.undo_s,
        "disabledScopes": sorted(one.value for one in user.disabled_protocols if one.value in _SCOPES),
        "hasPasswordSet": bool(call.services.users.passwords_set([user.id])),
        "passwordPwned": False,
        "require2faEnabled": settings.requires_2fa or bool(user.enabled_2fa),
        "requirePasswordChange": user.password_change_needed,
    }
    return {name: value for name, value in found.items() if name not in call.grants.hidden_fields}


def resolve_user_name(call: Call, _: Nothing) -> dict[str, Any]:
    """Return whose address this is.

    Raises:
        UserNotFound: nobody's that the token sees.
    """
    try:
        route = call.services.addresses.find(call.path["username"])
    except AddressInvalid:
        route = None
    if route is None or not call.sees(route.tenant_id) or call.token_user not in {None, route.user_id}:
        raise UserNotFound(call.path["username"])
    call.services.placement.home(route.user_id)  # the address of somebody who was deleted is still there
    return {"id": str(route.user_id)}


def create_user(call: Call, given: CreateUser) -> dict[str, Any]:
    """Make a user with its mailboxes and all that was asked for, or none."""
    tenant_id = _tenant(call, given)
    if given.empty_address:
        raise invalid({"emptyAddress": "every user has an address"})
    address = given.address or given.username
    if "@" not in address:
        raise invalid({"address": "is needed where the user name is none: name@domain"})
    check_new(call, given)
    users = call.services.users
    password = Secret(given.password.encode()) if given.password and not given.hashed_password else None
    tags = tuple(given.tags or ()) if given.add_tags_to_address else ()

    def furnish(user_id: UserId) -> None:
        if given.password and given.hashed_password:
            users.set_password_hash(call.actor, user_id, given.password)
        if given.require_password_change and password is not None:
            users.require_password_change(call.actor, user_id)
        _set(call, call.change, user_id, given)
        _name_mailboxes(call, user_id, given)

    user_id = users.create(
        call.actor,
        address,
        password,
        given.name or "",
        tenant_id,
        given.quota or None,
        address_data=NO_DATA.changed({"tags": tags}) if tags else NO_DATA,
        furnish=furnish,
    )
    return {"id": str(user_id)}


def _name_mailboxes(call: Call, user_id: UserId, given: CreateUser) -> None:
    """Give the usual mailboxes of a new user the names that are wanted."""
    if given.mailboxes is None:
        return
    tree = call.services.mailboxes.tree(user_id)
    for name, use in NAMED.items():
        wanted, entry = getattr(given.mailboxes, name), tree.find_special(use)
        if wanted is not None and entry is not None and parse_mailbox_name(wanted) != entry.name:
            call.change(call.services.mailboxes.rename, user_id, call.actor, entry.name, wanted)


def update_user(call: Call, given: UpdateUser) -> dict[str, Any]:
    """Change all that was asked for or nothing, each by its own step of the audit trail; the password is the last."""
    if call.must_change_first and not given.password:
        raise PasswordChangeNeeded
    _check_fields(call, given)
    UserSettings().changed(settings_of(given))
    user_id, users = call.owner, call.services.users
    if given.existing_password is not None:
        _check_password(call, given.existing_password)
    with call.together() as change:
        if given.name is not None:
            change(users.set_name, call.actor, user_id, given.name)
        if given.quota is not None:
            change(users.set_quota, call.actor, user_id, given.quota or None)
        _set(call, change, user_id, given)
        if given.disable2fa:
            change(call.services.second_factors.disable_all, call.actor, user_id, secret_of(given.existing_password))
        if given.disabled is not None or given.suspended is not None:
            state = State.DISABLED if given.disabled else State.SUSPENDED if given.suspended else State.ACTIVE
            change(users.set_state, call.actor, user_id, state)
        if given.password:
            _set_password(call, change, user_id, given)
    return {}


def log_out(call: Call, given: LogOut) -> dict[str, Any]:
    """End every session of the user on every server."""
    if given.reason:
        call.services.users.log_out(call.actor, call.owner, given.reason)
    else:
        call.services.users.log_out(call.actor, call.owner)
    return {}


def reset_password(call: Call, given: ResetPassword) -> dict[str, Any]:
    """Make a temporary password, good for a day; the present one stays until it is used."""
    after = given.valid_after or None
    made = call.services.temporary_passwords.create(call.actor, call.owner, after)
    return {"password": made.reveal_text(), "validAfter": instant(after)}


def reset_quota(call: Call, _: Nothing) -> dict[str, Any]:
    """Count a user's bytes anew: they are the sum over its mailboxes, so nothing is there to be mended."""
    before = call.services.quotas.use(call.owner)
    return {"storageUsed": call.services.quotas.use(call.owner, fresh=True), "previousStorageUsed": before}


def reset_every_quota(call: Call, _: Nothing) -> dict[str, Any]:
    """Have the pools of tenants summed up anew; a user's bytes are the sum over its mailboxes and never kept."""
    if call.actor.dry_run:
        return {}
    return {"task": call.services.jobs.enqueue("pools.sum_up")}


_SCOPES: Final = frozenset({"imap", "pop3", "smtp"})


def _item(call: Call, user: User, given: ListUsers, *, has_password: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": str(user.id),
        "username": user.address,
        "name": user.name,
        "address": user.address,
        "tags": list(user.settings.tags),
        "targets": list(user.settings.targets),
        **_states(user),
        "autoreply": user.autoreply_version > 0,
        "encryptMessages": user.encryption.of_stored,
        "encryptForwarded": user.encryption.of_forwarded,
        "quota": {"allowed": user.quota_bytes or 0, "used": call.services.quotas.use(user.id)},
        "hasPasswordSet": has_password,
    }
    if given.meta_data:
        found["metaData"] = meta_value(user.settings.meta_data)
    if given.internal_data:
        found["internalData"] = meta_value(user.settings.internal_data)
    return found


def _states(user: User) -> dict[str, Any]:
    return {
        "enabled2fa": sorted(factor.value for factor in user.enabled_2fa),
        "activated": user.state is not State.DISABLED,
        "disabled": user.state is State.DISABLED,
        "suspended": user.state is State.SUSPENDED,
    }


def _use(call: Call, user: User, limits: UserLimits, used: dict[str, int]) -> dict[str, Any]:
    def of(name: str) -> dict[str, Any]:
        count = used.get(name, 0)
        return {"allowed": getattr(limits, name), "used": count, "ttl": DAY_S if count else False}

    return {
        "quota": {"allowed": user.quota_bytes or 0, "used": call.services.quotas.use(user.id, fresh=True)},
        "recipients": of(Spending.RECIPIENTS),
        "forwards": of(Spending.FORWARDS),
        "imapUpload": of(Traffic.IMAP_UPLOAD),
        "imapDownload": of(Traffic.IMAP_DOWNLOAD),
        "pop3Download": of(Traffic.POP3_DOWNLOAD),
        "received": of(Spending.RECEIVED),
        "filters": {"allowed": limits.filters, "used": len(call.services.filters.list_of(of_user(user.id)).rules)},
        "pop3MaxMessages": {"allowed": limits.pop3_messages},
        "imapMaxConnections": {"allowed": limits.connections, "used": call.services.sessions.count_of(user.id)},
    }


def _set(call: Call, change: Change, user_id: UserId, given: UserFields) -> None:
    """Set limits, settings and closed protocols."""
    users = call.services.users
    for field, limit in LIMITS.items():
        value = getattr(given, field)
        if value is not None:
            change(users.set_limit, call.actor, user_id, limit, value or None)
    changes = settings_of(given)
    if changes:
        change(users.set_settings, call.actor, user_id, changes)
    if given.disabled_scopes is not None:
        protocols = frozenset(Protocol(name) for name in given.disabled_scopes)
        change(users.set_disabled_protocols, call.actor, user_id, protocols)
    set_encryption(call, change, user_id, given)


def _check_fields(call: Call, given: UpdateUser) -> None:
    """Make sure that the token's role may change these fields.

    Raises:
        ApiError: one is not for it.
    """
    asked = {UpdateUser.model_fields[name].alias or name for name in given.model_fields_set} - _ABOUT_THE_CALL
    grants = call.grants
    allowed = asked if grants.update_fields is None else grants.update_fields
    refused = sorted((asked - allowed) | (asked & grants.hidden_fields))
    if refused:
        raise ApiError(403, "MissingPrivileges", f"This token may not change {', '.join(refused)}")
    if call.is_own and (given.password is not None or given.disable2fa) and given.existing_password is None:
        raise invalid({"existingPassword": "is needed to change how one signs in"})


_ABOUT_THE_CALL: Final = frozenset({"sess", "ip", "protocol"})


def _check_password(call: Call, password: str) -> None:
    """Make sure that the present password was given; guesses count as failed logins do.

    Raises:
        AuthenticationFailed: it is another.
    """
    user = call.services.users.get(call.owner)
    remote = call.actor.remote_address
    identity = call.services.authentication.login(user.address, Secret(password.encode()), Protocol.API, remote)
    if identity.user_id != user.id:
        raise AuthenticationFailed("not this user's")


def _set_password(call: Call, change: Change, user_id: UserId, given: UpdateUser) -> None:
    users = call.services.users
    assert given.password is not None
    if given.hashed_password:
        change(users.set_password_hash, call.actor, user_id, given.password)
    else:
        secret = Secret(given.password.encode())
        change(users.set_password, call.actor, user_id, secret, allow_leaked=given.allow_unsafe)


def _tenant(call: Call, given: CreateUser) -> TenantId:
    """Return whose user is made: the token's tenant, the one named, or that of the address's domain."""
    if call.tenant_id is not None:
        if given.tenant not in {None, str(call.tenant_id)}:
            raise ApiError(404, "TenantNotFound", "This tenant does not exist")
        return call.tenant_id
    if given.tenant is not None:
        return TenantId(ObjectId(given.tenant))
    try:
        domain = Address.parse(given.address or given.username).domain
    except AddressInvalid as error:
        raise invalid({"address": str(error.details[0]) if error.details else "is no address"}) from None
    owner = call.services.domains.owner_of(domain)
    if owner is None:
        raise ApiError(404, "DomainNotFound", f"No tenant has the domain {domain}: name the tenant")
    return owner


_PATH: Final = "/users/{user}"
_READ: Final = Permission(Resource.USERS, Action.READ, before_change=True)
_CHANGE: Final = Permission(Resource.USERS, Action.UPDATE, before_change=True)
_UPDATE: Final = Permission(Resource.USERS, Action.UPDATE)
OPERATIONS: Final = (
    Operation(
        "POST", "/quota/reset", "resetEveryQuota", "Count everybody's bytes anew",
        Permission(Resource.USERS, Action.UPDATE, of_tenant=True), Nothing, QuotaTask, reset_every_quota,
    ),
    Operation(
        "GET", "/users", "listUsers", "List users", Permission(Resource.USER_LISTING, Action.READ),
        ListUsers, UserList, list_users, is_list=True,
    ),
    Operation(
        "POST", "/users", "createUser", "Create a user", Permission(Resource.USERS, Action.CREATE),
        CreateUser, NewUser, create_user,
    ),
    Operation(
        "GET", "/users/resolve/{username}", "resolveUser", "Find the user of an address",
        Permission(Resource.USERS, Action.READ, own_without_user=True), Nothing, NewUser, resolve_user_name,
    ),
    Operation("GET", _PATH, "getUser", "Get a user", _READ, Nothing, UserAnswer, get_user),
    Operation("PUT", _PATH, "updateUser", "Change a user", _CHANGE, UpdateUser, Output, update_user),
    Operation("PUT", f"{_PATH}/logout", "logOutUser", "Sign a user out everywhere", _UPDATE, LogOut, Output, log_out),
    Operation(
        "POST", f"{_PATH}/password/reset", "resetPassword", "Make a temporary password",
        Permission(Resource.USERS, Action.UPDATE, of_tenant=True), ResetPassword, NewPassword, reset_password,
    ),
    Operation(
        "POST", f"{_PATH}/quota/reset", "resetQuota", "Count a user's bytes anew", _UPDATE,
        Nothing, StorageUse, reset_quota,
    ),
)  # fmt: skip
