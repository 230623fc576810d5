"""Rules in order: made, changed, moved up and down, switched off."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import FilterNotFound, MailError, Unavailable
from mailcore.model.filter import Query, Rule, RuleAction, RuleContent, of_user
from mailcore.model.ids import MailboxId
from mailcore.model.tenant import User
from portal.access import requires
from portal.mail_plane import mail
from portal.own.forms import FilterForm
from portal.own.sessions import acting, me
from portal.own.targets import say_what_waits
from portal.own.views import object_id
from portal.people.addresses import several
from portal.people.requests import attempt
from portal.permissions import Permission
from portal.refusals import refusal

blueprint = Blueprint("own_filters", __name__, url_prefix="/account/filters")
YES_NO = {"yes": True, "no": False}


@blueprint.get("/")
@requires(Permission.OWN_MAIL)
def index() -> ResponseReturnValue:
    """Show rules in the order in which they are looked at."""
    user = me()
    names = _mailboxes(user)
    rules = mail().filters.list_of(of_user(user.id)).rules
    asking = [target for rule in rules if rule.content.asks for target in rule.content.action.targets]
    waiting = set(mail().targets.waiting(user, asking))
    waits = {rule.id for rule in rules if rule.content.asks and waiting.intersection(rule.content.action.targets)}
    return render_template("own/filters.html", rules=[(rule, said(rule, names)) for rule in rules], waits=waits)


@blueprint.route("/new", methods=["GET", "POST"])
@requires(Permission.OWN_MAIL)
def add() -> ResponseReturnValue:
    """Make a rule, behind all others."""
    user = me()
    form = FilterForm(mailboxes=_mailboxes(user))
    if form.validate_on_submit() and _save(user, form, None):
        flash(_("The rule is there. It holds for mail that comes from now on."), "success")
        say_what_waits(user.id, several(form.targets.data or ""))
        return redirect(url_for("own_filters.index"), code=303)
    return render_template("own/filter_form.html", form=form, rule=None), 400 if form.errors else 200


@blueprint.route("/<filter_id>", methods=["GET", "POST"])
@requires(Permission.OWN_MAIL)
def edit(filter_id: str) -> ResponseReturnValue:
    """Change a rule."""
    user = me()
    rule = mail().filters.get(of_user(user.id), object_id(filter_id))
    if request.method == "GET":
        form = FilterForm(formdata=None, mailboxes=_mailboxes(user), data=_data(rule.content))
        return render_template("own/filter_form.html", form=form, rule=rule)
    form = FilterForm(mailboxes=_mailboxes(user))
    if form.validate_on_submit() and _save(user, form, rule):
        flash(_("Saved."), "success")
        say_what_waits(user.id, several(form.targets.data or ""))
        return redirect(url_for("own_filters.index"), code=303)
    return render_template("own/filter_form.html", form=form, rule=rule), 400


@blueprint.post("/<filter_id>/move")
@requires(Permission.OWN_MAIL)
def move(filter_id: str) -> ResponseReturnValue:
    """Move a rule one place up or down; works by keyboard, and without scripts."""
    user, wanted = me(), object_id(filter_id)
    owner = of_user(user.id)
    order = [rule.id for rule in mail().filters.list_of(owner).rules]
    if wanted not in order:
        raise FilterNotFound(wanted)
    place = order.index(wanted)
    other = place + (-1 if request.form.get("direction") == "up" else 1)
    if 0 <= other < len(order):
        order[place], order[other] = order[other], order[place]
    return attempt(
        lambda: mail().filters.set_order(acting(user), owner, order),
        _("Moved."),
        url_for("own_filters.index"),
        anchor=f"rule-{filter_id}",
    )


@blueprint.post("/<filter_id>/switch")
@requires(Permission.OWN_MAIL)
def switch(filter_id: str) -> ResponseReturnValue:
    """Switch a rule on or off."""
    user = me()
    is_on = request.form.get("on") == "1"
    return attempt(
        lambda: mail().filters.update(acting(user), of_user(user.id), object_id(filter_id), {"is_disabled": not is_on}),
        _("The rule is on.") if is_on else _("The rule is off."),
        url_for("own_filters.index"),
        anchor=f"rule-{filter_id}",
    )


@blueprint.post("/<filter_id>/delete")
@requires(Permission.OWN_MAIL)
def delete(filter_id: str) -> ResponseReturnValue:
    """Delete a rule."""
    user = me()
    return attempt(
        lambda: mail().filters.delete(acting(user), of_user(user.id), object_id(filter_id)),
        _("The rule is gone."),
        url_for("own_filters.index"),
    )


def _save(user: User, form: FilterForm, rule: Rule | None) -> bool:
    """Make or change a rule as a form says; where that is refused the form says why.

    What a rule has besides, from other programs, stays.
    """
    try:
        query = replace(
            rule.content.query if rule is not None else Query(),
            sender=form.sender.data or "",
            recipients=form.recipient.data or "",
            subject=form.subject.data or "",
            text=form.text.data or "",
            has_attachments=YES_NO.get(form.attachments.data or ""),
        )
        action = replace(
            rule.content.action if rule is not None else RuleAction(),
            seen=True if form.seen.data else None,
            flagged=True if form.flagged.data else None,
            delete=True if form.delete.data else None,
            spam=YES_NO.get(form.spam.data or ""),
            mailbox_id=MailboxId(object_id(form.mailbox.data)) if form.mailbox.data else None,
            targets=tuple(several(form.targets.data or "")),
        )
        if action == RuleAction() and not form.stops.data:
            form.mailbox.errors = [_("Choose what is done with such mail.")]
            return False
        wanted: dict[str, Any] = {
            "name": form.name.data or "",
            "query": query,
            "action": action,
            "is_disabled": not form.is_on.data,
            "stops": bool(form.stops.data),
        }
        if rule is None:
            mail().filters.create(acting(user), of_user(user.id), RuleContent(**wanted))
        else:
            mail().filters.update(acting(user), of_user(user.id), rule.id, wanted)
    except Unavailable:
        raise
    except MailError as error:
        form.name.errors = [*form.name.errors, refusal(error)]
        return False
    return True


def _data(content: RuleContent) -> dict[str, Any]:
    query, action = content.query, content.action
    words = {None: "", True: "yes", False: "no"}
    return {
        "name": content.name,
        "sender": query.sender,
        "recipient": query.recipients,
        "subject": query.subject,
        "text": query.text,
        "attachments": words[query.has_attachments],
        "mailbox": str(action.mailbox_id or ""),
        "seen": action.seen,
        "flagged": action.flagged,
        "spam": words[action.spam],
        "delete": action.delete,
        "targets": " ".join(action.targets),
        "is_on": not content.is_disabled,
        "stops": content.stops,
    }


def said(rule: Rule, mailboxes: dict[str, str]) -> tuple[str, str]:
    """Return in words what a rule looks for, and what it does."""
    query, action = rule.content.query, rule.content.action
    looks = [
        _("from has “%(text)s”", text=query.sender) if query.sender else "",
        _("to has “%(text)s”", text=query.recipients) if query.recipients else "",
        _("subject has “%(text)s”", text=query.subject) if query.subject else "",
        _("text has “%(text)s”", text=query.text) if query.text else "",
        {True: _("with attachments"), False: _("without attachments"), None: ""}[query.has_attachments],
    ]
    where = mailboxes.get(str(action.mailbox_id or ""), "")
    does = [
        _("delete") if action.delete else "",
        _("move to %(mailbox)s", mailbox=where) if where else "",
        _("mark as read") if action.seen else "",
        _("mark with a star") if action.flagged else "",
        {True: _("is spam"), False: _("is never spam"), None: ""}[action.spam],
        _("send on to %(addresses)s", addresses=", ".join(action.targets)) if action.targets else "",
        _("look at no further rule") if rule.content.stops else "",
    ]
    return ", ".join(filter(None, looks)) or _("all mail"), ", ".join(filter(None, does)) or _("nothing")


def _mailboxes(user: User) -> dict[str, str]:
    return {str(entry.id): str(entry.name) for entry in mail().mailboxes.tree(user.id).entries}
