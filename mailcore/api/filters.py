"""Filters of a user, in the words that clients know; `position`, `stop` and `conditions` are ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from bson import ObjectId
from pydantic import Field, StringConstraints

from mailcore.api.call import Call
from mailcore.api.fields import (
    MAX_INTEGER,
    Fields,
    Flag,
    Input,
    InputPart,
    Meta,
    Nothing,
    Oid,
    Output,
    instant,
    meta_value,
)
from mailcore.api.operation import Operation, Permission
from mailcore.errors import FilterNotFound
from mailcore.model.filter import Condition, Match, Part, Query, Rule, RuleAction, RuleContent, of_user
from mailcore.model.ids import MailboxId
from mailcore.model.roles import Action, Resource

Word = Annotated[str, StringConstraints(max_length=255)]


class FilterCondition(InputPart):
    """One more thing that must hold."""

    part: Literal["header", "sender", "recipients", "reverse_path", "subject", "list_id", "text"]
    match: Literal["contains", "is", "wildcards", "regex", "exists"] = "contains"
    value: Word = ""
    header: Word = ""
    negated: Flag = False


class FilterQuery(InputPart):
    """What a message must be like; `size` above 0 is larger than, below 0 smaller than so many bytes."""

    sender: Word | None = Field(default=None, alias="from")
    to: Word | None = None
    subject: Word | None = None
    list_id: Word | None = None
    text: Word | None = None
    ha: Flag | None = None
    size: Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)] | None = None
    conditions: Annotated[list[FilterCondition], Field(max_length=50)] | None = None
    any_of: Flag | None = None


class FilterAction(InputPart):
    """What is done with it."""

    seen: Flag | None = None
    flag: Flag | None = None
    delete: Flag | None = None
    spam: Flag | None = None
    mailbox: Oid | None = None
    targets: list[Annotated[str, StringConstraints(max_length=1024)]] | None = None


class CreateFilter(Input):
    """A new filter, behind the others unless `position` says where, from 0."""

    name: Word | None = None
    query: FilterQuery
    action: FilterAction
    disabled: Flag = False
    stop: Flag = False
    position: Annotated[int, Field(ge=0, le=10_000)] | None = None
    meta_data: Meta | None = None


class UpdateFilter(Input):
    """What is to change; `query` and `action` are replaced whole."""

    name: Word | None = None
    query: FilterQuery | None = None
    action: FilterAction | None = None
    disabled: Flag | None = None
    stop: Flag | None = None
    position: Annotated[int, Field(ge=0, le=10_000)] | None = None
    meta_data: Meta | None = None


class ListFilters(Input):
    """`metaData` adds the applications' own data."""

    meta_data: Flag = False


class FilterItem(Fields):
    """One filter, in words for people and as it was given."""

    id: str
    name: str
    created: str
    query: list[list[str | int]]
    action: list[list[str]]
    disabled: bool
    stop: bool
    waiting_targets: list[str] | None = None
    """Of a user's list: those that get nothing until they are confirmed."""
    meta_data: dict[str, Any] | None = None
    original_query: FilterQuery
    original_action: FilterAction


class FilterLimits(Fields):
    """How many there may be."""

    allowed: int
    used: int


class FilterList(Output):
    """All filters in their order."""

    limits: FilterLimits
    results: list[FilterItem]


class FilterAnswer(Output):
    """One filter."""

    id: str
    name: str
    created: str
    query: FilterQuery
    action: FilterAction
    disabled: bool
    stop: bool
    waiting_targets: list[str]
    meta_data: dict[str, Any]


class NewFilter(Output):
    """The id of what was made."""

    id: str


def list_filters(call: Call, given: ListFilters) -> dict[str, Any]:
    """Return the user's filters in their order; one round trip, and one for names of mailboxes."""
    rules = call.services.filters.list_of(of_user(call.owner)).rules
    names = {str(entry.id): entry.name for entry in call.services.mailboxes.tree_cached(call.owner)}
    allowed = call.services.usage.limits(call.owner).filters
    return {
        "limits": {"allowed": allowed, "used": len(rules)},
        "results": [
            filter_item(rule, names, with_data=given.meta_data) | {"waitingTargets": waiting}
            for rule, waiting in zip(rules, _waiting(call, rules), strict=True)
        ],
    }


def get_filter(call: Call, _: Nothing) -> dict[str, Any]:
    """Return one filter; one round trip."""
    rule = call.services.filters.get(of_user(call.owner), _id(call))
    return {
        **_common(rule),
        "waitingTargets": _waiting(call, [rule])[0],
        "query": query_fields(rule.content.query),
        "action": action_fields(rule.content.action),
        "metaData": meta_value(rule.content.meta_data),
    }


def _waiting(call: Call, rules: Sequence[Rule]) -> list[list[str]]:
    """Return which targets of each rule get nothing yet; no round trip where none asks."""
    asking = [rule.content.action.targets if rule.content.asks else () for rule in rules]
    if not any(asking):
        return [[] for _ in rules]
    user = call.services.users.get(call.owner)
    waiting = set(call.services.targets.waiting(user, [target for targets in asking for target in targets]))
    return [[target for target in targets if target in waiting] for targets in asking]


def create_filter(call: Call, given: CreateFilter) -> dict[str, Any]:
    """Add a filter."""
    content = RuleContent(
        query=_query(given.query),
        action=_action(given.action),
        name=given.name or "",
        is_disabled=given.disabled,
        stops=given.stop,
        meta_data=given.meta_data or "",
    )
    made = call.services.filters.create(call.actor, of_user(call.owner), content, given.position)
    return {"id": str(made.id)}


def update_filter(call: Call, given: UpdateFilter) -> dict[str, Any]:
    """Change a filter, or its place among the others."""
    owner, rule_id, filters = of_user(call.owner), _id(call), call.services.filters
    changes: dict[str, Any] = {
        "name": given.name,
        "query": _query(given.query) if given.query is not None else None,
        "action": _action(given.action) if given.action is not None else None,
        "is_disabled": given.disabled,
        "stops": given.stop,
        "meta_data": given.meta_data,
    }
    wanted = {name: value for name, value in changes.items() if value is not None}
    if wanted or given.position is None:
        filters.update(call.actor, owner, rule_id, wanted, given.position)
    else:
        known = filters.list_of(owner)
        order = [rule.id for rule in known.rules if rule.id != rule_id]
        if len(order) == len(known.rules):
            raise FilterNotFound(rule_id)
        order.insert(given.position, rule_id)
        filters.set_order(call.actor, owner, order, known.version)
    return {}


def delete_filter(call: Call, _: Nothing) -> dict[str, Any]:
    """Remove a filter."""
    call.services.filters.delete(call.actor, of_user(call.owner), _id(call))
    return {}


def query_fields(query: Query) -> dict[str, Any]:
    """Return a query as it was given."""
    found: dict[str, Any] = {
        "from": query.sender or None,
        "to": query.recipients or None,
        "subject": query.subject or None,
        "listId": query.list_id or None,
        "text": query.text or None,
        "ha": query.has_attachments,
        "size": query.larger_than if query.larger_than is not None else _negative(query.smaller_than),
        "conditions": [_condition_fields(one) for one in query.conditions] or None,
        "anyOf": query.any_of or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def action_fields(action: RuleAction) -> dict[str, Any]:
    """Return an action as it was given."""
    found: dict[str, Any] = {
        "seen": action.seen,
        "flag": action.flagged,
        "delete": action.delete,
        "spam": action.spam,
        "mailbox": str(action.mailbox_id) if action.mailbox_id is not None else None,
        "targets": list(action.targets) or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def filter_item(rule: Rule, names: dict[str, Any], *, with_data: bool) -> dict[str, Any]:
    """Return a rule as lists show it; `names` are those of its owner's mailboxes, by id."""
    query, action = query_fields(rule.content.query), action_fields(rule.content.action)
    found = {
        **_common(rule),
        "query": _query_words(query),
        "action": _action_words(action, names),
        "originalQuery": query,
        "originalAction": action,
    }
    return found | ({"metaData": meta_value(rule.content.meta_data)} if with_data else {})


def _common(rule: Rule) -> dict[str, Any]:
    return {
        "id": str(rule.id),
        "name": rule.content.name,
        "created": instant(rule.created_at),
        "disabled": rule.content.is_disabled,
        "stop": rule.content.stops,
    }


def _query_words(query: dict[str, Any]) -> list[list[str | int]]:
    """Return a query as pairs for people to read."""
    words: list[list[str | int]] = [
        [name, f"({query[name]})"] for name in ("from", "to", "subject", "listId") if name in query
    ]
    if "text" in query:
        words.append([f'"{query["text"]}"'])
    if "ha" in query:
        words.append(["has attachment" if query["ha"] else "has no attachment"])
    if "size" in query:
        words.append(["larger" if query["size"] >= 0 else "smaller", abs(query["size"])])
    words.extend([one["header"] or one["part"], _condition_words(one)] for one in query.get("conditions", ()))
    return words


def _condition_words(one: dict[str, Any]) -> str:
    return f"{'not ' if one['negated'] else ''}{one['match']} ({one['value']})"


def _action_words(action: dict[str, Any], names: dict[str, Any]) -> list[list[str]]:
    """Return an action as pairs for people to read."""
    words: list[list[str]] = []
    for name, yes, no in (
        ("seen", "mark as read", "do not mark as read"),
        ("flag", "flag it", "do not flag it"),
        ("delete", "delete it", "do not delete it"),
        ("spam", "mark it as spam", "do not mark it as spam"),
    ):
        if name in action:
            words.append([yes if action[name] else no])
    if "mailbox" in action:
        words.append(["move to folder", names.get(action["mailbox"], "?")])
    if "targets" in action:
        words.append(["forward to", ", ".join(action["targets"])])
    return words


def _condition_fields(condition: Condition) -> dict[str, Any]:
    return {
        "part": condition.part.value,
        "match": condition.match.value,
        "value": condition.value,
        "header": condition.header,
        "negated": condition.negated,
    }


def _query(given: FilterQuery) -> Query:
    size = given.size or None
    return Query(
        sender=given.sender or "",
        recipients=given.to or "",
        subject=given.subject or "",
        list_id=given.list_id or "",
        text=given.text or "",
        has_attachments=given.ha,
        larger_than=size if size is not None and size > 0 else None,
        smaller_than=-size if size is not None and size < 0 else None,
        conditions=tuple(
            Condition(Part(one.part), Match(one.match), one.value, one.header, one.negated)
            for one in given.conditions or ()
        ),
        any_of=bool(given.any_of),
    )


def _action(given: FilterAction) -> RuleAction:
    return RuleAction(
        seen=given.seen,
        flagged=given.flag,
        delete=given.delete,
        spam=given.spam,
        mailbox_id=MailboxId(ObjectId(given.mailbox)) if given.mailbox else None,
        targets=tuple(given.targets or ()),
    )


def _negative(number: int | None) -> int | None:
    return -number if number is not None else None


def _id(call: Call) -> ObjectId:
    text = call.path["filter"]
    if not ObjectId.is_valid(text):
        raise FilterNotFound(text)
    return ObjectId(text)


def _may(action: Action) -> Permission:
    return Permission(Resource.FILTERS, action)


_PATH: Final = "/users/{user}/filters"
OPERATIONS: Final = (
    Operation(
        "GET", _PATH, "listFilters", "List filters", _may(Action.READ), ListFilters, FilterList, list_filters,
        is_list=True,
    ),
    Operation(
        "POST", _PATH, "createFilter", "Add a filter", _may(Action.CREATE), CreateFilter, NewFilter, create_filter,
    ),
    Operation(
        "GET", f"{_PATH}/{{filter}}", "getFilter", "Get a filter", _may(Action.READ),
        Nothing, FilterAnswer, get_filter,
    ),
    Operation(
        "PUT", f"{_PATH}/{{filter}}", "updateFilter", "Change a filter", _may(Action.UPDATE),
        UpdateFilter, Output, update_filter,
    ),
    Operation(
        "DELETE", f"{_PATH}/{{filter}}", "deleteFilter", "Remove a filter", _may(Action.DELETE),
        Nothing, Output, delete_filter,
    ),
)  # fmt: skip
