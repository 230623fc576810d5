"""Settings of the site."""

from __future__ import annotations

from typing import Any, Final

from mailcore.api.call import Call
from mailcore.api.errors import ApiError
from mailcore.api.fields import Fields, Input, LooseInput, Nothing, Output, Text255
from mailcore.api.operation import Operation, Permission
from mailcore.model.roles import Action, Resource

Given = str | int | float | bool


class ListSettings(LooseInput):
    """Those whose key has `filter` in it."""

    filter: Text255 | None = None


class SettingItem(Fields):
    """One setting."""

    key: str
    value: str | int | bool
    name: str
    description: str
    default: str | int | bool
    type: str
    custom: bool


class SettingList(Output):
    """All that match."""

    filter: str
    settings: list[SettingItem]


class PutSetting(Input):
    """The value, of the setting's kind; sizes and times may be written as "10 GB" and "25d"."""

    value: Given


class SettingKey(Output):
    """Which one was set."""

    key: str


class SettingAnswer(Output):
    """A value."""

    key: str
    value: str | int | bool


def list_settings(call: Call, given: ListSettings) -> dict[str, Any]:
    """Return the settings; one round trip."""
    _check_platform(call)
    wanted = given.filter or ""
    return {
        "filter": wanted,
        "settings": [
            {
                "key": setting.key,
                "value": value,
                "name": setting.name,
                "description": setting.description,
                "default": setting.default,
                "type": setting.kind.value,
                "custom": is_set,
            }
            for setting, value, is_set in call.services.site_settings.list_all()
            if wanted.lower() in setting.key.lower()
        ],
    }


def get_setting(call: Call, _: Nothing) -> dict[str, Any]:
    """Return one; one round trip."""
    _check_platform(call)
    return {"key": call.path["key"], "value": call.services.site_settings.get(call.path["key"])}


def put_setting(call: Call, given: PutSetting) -> dict[str, Any]:
    """Set one; every process follows within half a minute."""
    _check_platform(call)
    call.services.site_settings.put(call.actor, call.path["key"], given.value)
    return {"key": call.path["key"]}


def _check_platform(call: Call) -> None:
    if call.tenant_id is not None or call.token_user is not None:
        raise ApiError(403, "MissingPrivileges", "Settings are the platform's own")


def _may(action: Action) -> Permission:
    return Permission(Resource.SETTINGS, action, of_tenant=True)


_PATH: Final = "/settings"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "listSettings", "List settings", _may(Action.READ),
        ListSettings, SettingList, list_settings, is_list=True,
    ),
    Operation(
        "GET", f"{_PATH}/{{key}}", "getSetting", "Get a setting", _may(Action.READ),
        Nothing, SettingAnswer, get_setting,
    ),
    Operation(
        "POST", f"{_PATH}/{{key}}", "putSetting", "Set a setting", _may(Action.CREATE),
        PutSetting, SettingKey, put_setting,
    ),
)  # fmt: skip
