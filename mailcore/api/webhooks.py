"""Webhooks: addresses that are told of events."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final

from bson import ObjectId
from pydantic import StringConstraints

from mailcore.api.call import Call, resolve_user
from mailcore.api.fields import Fields, Input, Listing, LooseInput, Nothing, Oid, Output, Page, instant
from mailcore.api.operation import Operation, Permission
from mailcore.api.paging import page_by_id
from mailcore.errors import WebhookNotFound
from mailcore.model.event import PLATFORM
from mailcore.model.roles import Action, Resource
from mailcore.model.webhook import Webhook

TypeText = Annotated[str, StringConstraints(max_length=128)]


class ListWebhooks(Page, LooseInput):
    """Those with this type, or for this user."""

    type: TypeText | None = None
    user: Oid | None = None


class CreateWebhook(Input):
    """What of whom is told to where: types are names, `ns.*` or `*`; without a user those of all users."""

    type: list[TypeText] | TypeText
    user: Oid | None = None
    url: Annotated[str, StringConstraints(max_length=1024)]


class WebhookItem(Fields):
    """One webhook; `dead` since it was given up."""

    id: str
    type: list[str]
    user: str | None
    url: str
    created: str
    failures: int
    dead: str | None


class WebhookList(Listing):
    """A page of webhooks."""

    type: str | None
    user: str | None
    results: list[WebhookItem]


class WebhookMade(Output):
    """The id, and the key of the signatures, which is shown once."""

    id: str
    secret: str


def list_webhooks(call: Call, given: ListWebhooks) -> dict[str, Any]:
    """Return a page of the webhooks that the token sees; two round trips."""
    user_id = call.token_user or (resolve_user(call, given.user) if given.user is not None else None)
    find = partial(call.services.webhooks.search, call.tenant_id, user_id, given.type or "")
    return {**page_by_id(given, find, _item), "type": given.type, "user": given.user}


def create_webhook(call: Call, given: CreateWebhook) -> dict[str, Any]:
    """Tell an address of events from now on."""
    user_id = resolve_user(call, given.user) if given.user is not None else None
    types = [given.type] if isinstance(given.type, str) else given.type
    hook, secret = call.services.webhooks.create(call.actor, call.tenant_id, user_id, types, given.url)
    return {"id": str(hook.id), "secret": secret.reveal_text()}


def delete_webhook(call: Call, _: Nothing) -> dict[str, Any]:
    """Tell it nothing any more."""
    text = call.path["webhook"]
    if not ObjectId.is_valid(text):
        raise WebhookNotFound(text)
    hook = call.services.webhooks.get(ObjectId(text))
    if not call.sees(hook.tenant_id) or (hook.tenant_id == PLATFORM and call.tenant_id is not None):
        raise WebhookNotFound(text)
    call.services.webhooks.delete(call.actor, hook)
    return {}


def _item(hook: Webhook) -> dict[str, Any]:
    return {
        "id": str(hook.id),
        "type": list(hook.types),
        "user": str(hook.user_id) if hook.user_id is not None else None,
        "url": hook.url,
        "created": instant(hook.created_at),
        "failures": hook.failures,
        "dead": instant(hook.dead_at),
    }


def _may(action: Action) -> Permission:
    return Permission(Resource.WEBHOOKS, action, of_tenant=True)


_PATH: Final = "/webhooks"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "listWebhooks", "List webhooks",
        Permission(Resource.WEBHOOKS, Action.READ, own_without_user=True), ListWebhooks, WebhookList,
        list_webhooks, is_list=True,
    ),
    Operation(
        "POST", _PATH, "createWebhook", "Make a webhook", _may(Action.CREATE),
        CreateWebhook, WebhookMade, create_webhook,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{webhook}}", "deleteWebhook", "Delete a webhook", _may(Action.DELETE),
        Nothing, Output, delete_webhook,
    ),
)  # fmt: skip
