"""THE table of the API."""

from __future__ import annotations

from typing import Final

from mailcore.api import (
    address_register,
    addresses,
    app_passwords,
    archive,
    authentication,
    authlog,
    autoreply,
    deleted_users,
    domain_access,
    domain_aliases,
    every_filter,
    filters,
    forwarded_addresses,
    health,
    mailboxes,
    message,
    messages,
    outbound,
    passkeys,
    search,
    second_factors,
    storage,
    submit,
    upload,
    users,
)
from mailcore.api.operation import Operation

ALL: Final[tuple[Operation, ...]] = (
    *users.OPERATIONS,
    *deleted_users.OPERATIONS,
    *addresses.OPERATIONS,
    *address_register.OPERATIONS,
    *forwarded_addresses.OPERATIONS,
    *domain_aliases.OPERATIONS,
    *mailboxes.OPERATIONS,
    *messages.OPERATIONS,
    *message.OPERATIONS,
    *upload.OPERATIONS,
    *submit.OPERATIONS,
    *outbound.OPERATIONS,
    *storage.OPERATIONS,
    *archive.OPERATIONS,
    *search.OPERATIONS,
    *filters.OPERATIONS,
    *every_filter.OPERATIONS,
    *autoreply.OPERATIONS,
    *domain_access.OPERATIONS,
    *authentication.OPERATIONS,
    *app_passwords.OPERATIONS,
    *second_factors.OPERATIONS,
    *passkeys.OPERATIONS,
    *authlog.OPERATIONS,
    *health.OPERATIONS,
)
