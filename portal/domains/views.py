"""Pages about domains."""

from __future__ import annotations

from uuid import UUID

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_babel import gettext as _

from mailcore.errors import DomainInvalid
from mailcore.model.address import display_domain
from mailcore.model.features import Feature
from mailcore.model.mta_sts import StsMode
from mailcore.model.secret import Secret
from portal.access import actor, current_organisation, requires
from portal.choices import choices
from portal.domains import certificates, ledger, queries, services, showing, under_way, writing
from portal.domains.errors import ClaimNotFound, DomainNotClaimable, PlanChanged, ProviderFailed, WritingUnderWay
from portal.domains.forms import AddDomainForm, DkimWayForm, ProviderForm, StsForm, WriteForm
from portal.domains.models import DkimWay, DomainClaim, WritingState
from portal.domains.providers.table import offered, provider_of
from portal.domains.zone_file import zone_file
from portal.mail_plane import mail, portal
from portal.permissions import Permission
from portal.progress import stream
from portal.rate_limits import Rate, limit
from portal.staff import features

blueprint = Blueprint("domains", __name__, url_prefix="/domains")


@blueprint.get("")
@requires(Permission.VIEW_DOMAINS)
def index() -> ResponseReturnValue:
    """List the organisation's domains; three round trips."""
    organisation = current_organisation()
    claims = queries.list_claims(organisation, request.args.get("after", ""))
    still_open = queries.count_open([claim.id for claim in claims])
    rows = [showing.row_of(claim, still_open.get(claim.id, 0)) for claim in claims]
    more = claims[-1].name if len(claims) == queries.PAGE else None
    return render_template("domains/index.html", rows=rows, more=more)


@blueprint.route("/add", methods=["GET", "POST"])
@requires(Permission.MANAGE_DOMAINS)
def add() -> ResponseReturnValue:
    """Add a domain, then show the records that prove it is the organisation's."""
    form = AddDomainForm()
    if form.validate_on_submit():
        try:
            names = portal().settings.domains.names
            claim = services.add_domain(actor(), current_organisation(), form.name.data or "", names)
        except DomainInvalid:
            form.name.errors = [_("This is not a domain. Enter the part after the @, such as example.org.")]
        except DomainNotClaimable as refused:
            form.name.errors = [showing.refusal(refused)]
        else:
            return redirect(url_for("domains.show", domain_id=claim.id), code=303)
    return render_template("domains/add.html", form=form), 400 if form.errors else 200


@blueprint.get("/<uuid:domain_id>")
@requires(Permission.VIEW_DOMAINS)
def show(domain_id: UUID) -> ResponseReturnValue:
    """Show a domain: what is right, what is not, what to change, and what that rests on."""
    claim = _claim(domain_id)
    return render_template("domains/show.html", writing=ledger.find(claim.id), **_page(claim))


@blueprint.get("/<uuid:domain_id>/records")
@requires(Permission.VIEW_DOMAINS)
def records(domain_id: UUID) -> ResponseReturnValue:
    """Return the part of the page that changes while a look is under way."""
    return render_template("domains/_records.html", **_page(_claim(domain_id)))


@blueprint.get("/<uuid:domain_id>/progress")
@requires(Permission.VIEW_DOMAINS)
def progress(domain_id: UUID) -> ResponseReturnValue:
    """Tell when the page would show something else, until nothing follows by itself any more."""
    organisation_id, claim_id = current_organisation().id, _claim(domain_id).id
    return stream(under_way.topic(claim_id), lambda: under_way.progress_of(organisation_id, claim_id))


@blueprint.post("/<uuid:domain_id>/check")
@requires(Permission.VIEW_DOMAINS)
def check(domain_id: UUID) -> ResponseReturnValue:
    """Look again now."""
    limit(Rate.DOMAIN_CHECK, str(domain_id))
    services.check_now(current_organisation(), _claim(domain_id).id)
    if request.headers.get("HX-Request"):
        return render_template("domains/_records.html", **_page(_claim(domain_id)))
    return redirect(url_for("domains.show", domain_id=domain_id), code=303)


@blueprint.get("/<uuid:domain_id>/zone.txt")
@requires(Permission.VIEW_DOMAINS)
def zone(domain_id: UUID) -> ResponseReturnValue:
    """Return the records as the text of a zone file."""
    claim = _claim(domain_id)
    lines = [(result.name, result.type, result.ttl_s, value) for result in claim.results for value in result.proposal]
    response = Response(zone_file(claim.name, lines), mimetype="text/plain")
    response.headers["Content-Disposition"] = f'attachment; filename="{claim.name}.zone"'
    return response


@blueprint.post("/<uuid:domain_id>/sts")
@requires(Permission.MANAGE_DOMAINS)
def sts(domain_id: UUID) -> ResponseReturnValue:
    """Choose how strict the MTA-STS policy is."""
    form = StsForm()
    claim = _claim(domain_id)
    if not form.validate_on_submit():
        abort(400)
    services.set_sts_mode(actor(), current_organisation(), claim.id, StsMode(form.mode.data))
    flash(_("The policy was changed. Now change the _mta-sts record as well: its id is new."), "success")
    return redirect(url_for("domains.show", domain_id=domain_id), code=303)


@blueprint.post("/<uuid:domain_id>/dkim")
@requires(Permission.MANAGE_DOMAINS)
def dkim(domain_id: UUID) -> ResponseReturnValue:
    """Choose how DKIM keys are published."""
    form = DkimWayForm()
    claim = _claim(domain_id)
    if not form.validate_on_submit() or not portal().settings.domains.names.dkim_zone:
        abort(400)
    services.set_dkim_way(actor(), current_organisation(), claim.id, DkimWay(form.way.data))
    flash(_("Changed. The keys of the present way go on signing until the others are seen in your DNS."), "success")
    return redirect(url_for("domains.show", domain_id=domain_id), code=303)


@blueprint.post("/<uuid:domain_id>/rotate")
@requires(Permission.MANAGE_DOMAINS)
def rotate(domain_id: UUID) -> ResponseReturnValue:
    """Begin to replace the DKIM keys."""
    claim = _claim(domain_id)
    if claim.verified_at is None:
        flash(_("Prove the domain first: there are no keys yet."), "warning")
    else:
        services.rotate_dkim(actor(), current_organisation(), claim.id)
        flash(_("A new key is being made. The old one signs until the new one is seen in DNS."), "success")
    return redirect(url_for("domains.show", domain_id=domain_id), code=303)


@blueprint.post("/<uuid:domain_id>/remove")
@requires(Permission.MANAGE_DOMAINS)
def remove(domain_id: UUID) -> ResponseReturnValue:
    """Give the domain up."""
    claim = _claim(domain_id)
    services.remove_domain(actor(), current_organisation(), claim.id)
    flash(
        _("%(name)s is being removed. If it still has addresses, it stays.", name=display_domain(claim.name)), "success"
    )
    return redirect(url_for("domains.index"), code=303)


@blueprint.route("/<uuid:domain_id>/provider", methods=["GET", "POST"])
@requires(Permission.MANAGE_DOMAINS)
def provider(domain_id: UUID) -> ResponseReturnValue:
    """Ask for the provider and its token, then show what would be written there."""
    claim = _claim(domain_id)
    if not features.is_on(current_organisation(), Feature.DNS_WRITING):
        flash(_("Support has switched writing off for now. Enter the records by hand."), "warning")
        return redirect(url_for("domains.show", domain_id=domain_id), code=303)
    kept = writing.kept_access(portal(), claim)
    form = ProviderForm(
        provider=claim.provider or provider_of(_servers_of(claim)),
        zone=_zone_of(claim),
        records=writing.chosen_keys(claim.results),
    )
    form.provider.choices = choices({one.name: one.label for one in offered(portal().settings.domains.powerdns_url)})
    shown = None
    handed_on = ""
    if form.validate_on_submit():
        token = Secret(form.token.data) if form.token.data else kept.token if kept is not None else None
        zone_name = (form.zone.data or claim.name).strip().strip(".").lower()
        if token is None:
            form.token.errors = [_("Enter the token that your provider gave you.")]
        elif not writing.in_zone(claim.name, zone_name):
            form.zone.errors = [_("The domain does not lie in this zone.")]
        else:
            access = writing.Access(
                claim.id, form.provider.data, zone_name, token, tuple(form.records.data or ()), bool(form.keep.data)
            )
            try:
                shown = writing.preview(portal(), claim, access)
                handed_on = writing.hand_on(portal(), access)
            except ProviderFailed as failed:
                why = showing.provider_trouble(str(failed))
                form.token.errors = [_("The provider refused: %(reason)s. Check token and zone.", reason=why)]
    return render_template(
        "domains/provider.html", form=form, shown=shown, handed_on=handed_on, kept=kept is not None, **_page(claim)
    ), 400 if form.errors else 200


@blueprint.post("/<uuid:domain_id>/provider/write")
@requires(Permission.MANAGE_DOMAINS)
def write(domain_id: UUID) -> ResponseReturnValue:
    """Write what the preview showed."""
    claim = _claim(domain_id)
    form = WriteForm()
    access = writing.take_back(portal(), claim.id, form.handed_on.data or "")
    if not form.validate_on_submit() or access is None:
        abort(400)
    back = url_for("domains.provider", domain_id=domain_id)
    try:
        ledger.begin(portal(), actor(), current_organisation(), access, form.plan.data or "")
    except PlanChanged:
        flash(
            _("What stands at your provider has changed meanwhile. Nothing was written: look at it again."), "warning"
        )
        return redirect(back, code=303)
    except ProviderFailed as failed:
        why = showing.provider_trouble(str(failed))
        flash(_("The provider stopped us: %(reason)s. Nothing was written.", reason=why), "error")
        return redirect(back, code=303)
    except WritingUnderWay:
        flash(_("Records are being written already. Wait until that is done."), "warning")
    return redirect(url_for("domains.writing_page", domain_id=domain_id), code=303)


@blueprint.get("/<uuid:domain_id>/provider/writing")
@requires(Permission.MANAGE_DOMAINS)
def writing_page(domain_id: UUID) -> ResponseReturnValue:
    """Show which records are written, and which are not; once all are, go to the domain."""
    claim = _claim(domain_id)
    found = ledger.find(claim.id)
    if found is not None and found.state != WritingState.DONE:
        return render_template(
            "domains/writing.html",
            claim=claim,
            domain=display_domain(claim.name),
            writing=found,
            trouble=showing.provider_trouble(found.failure or ""),
        )
    if found is not None:
        flash(_("%(count)s changes were written.", count=found.written), "success")
    shown_at = url_for("domains.show", domain_id=domain_id)
    if request.headers.get("HX-Request"):
        return Response(status=204, headers={"HX-Redirect": shown_at})
    return redirect(shown_at, code=303)


@blueprint.get("/<uuid:domain_id>/provider/writing/progress")
@requires(Permission.MANAGE_DOMAINS)
def writing_progress(domain_id: UUID) -> ResponseReturnValue:
    """Tell how many records are written, until that is over."""
    organisation_id, claim_id = current_organisation().id, _claim(domain_id).id
    return stream(ledger.topic(claim_id), lambda: ledger.progress_of(organisation_id, claim_id))


@blueprint.post("/<uuid:domain_id>/provider/writing/go-on")
@requires(Permission.MANAGE_DOMAINS)
def go_on(domain_id: UUID) -> ResponseReturnValue:
    """Write what is left."""
    ledger.go_on(actor(), current_organisation(), _claim(domain_id).id)
    return redirect(url_for("domains.writing_page", domain_id=domain_id), code=303)


@blueprint.post("/<uuid:domain_id>/provider/writing/leave")
@requires(Permission.MANAGE_DOMAINS)
def leave(domain_id: UUID) -> ResponseReturnValue:
    """Leave it at what is written."""
    ledger.leave(current_organisation(), _claim(domain_id).id)
    return redirect(url_for("domains.show", domain_id=domain_id), code=303)


@blueprint.post("/<uuid:domain_id>/provider/forget")
@requires(Permission.MANAGE_DOMAINS)
def forget(domain_id: UUID) -> ResponseReturnValue:
    """Forget the provider's token."""
    claim = _claim(domain_id)
    writing.forget(actor(), current_organisation(), claim.id)
    flash(_("The token was forgotten."), "success")
    return redirect(url_for("domains.provider", domain_id=domain_id), code=303)


def _claim(domain_id: UUID) -> DomainClaim:
    try:
        return queries.get_claim(current_organisation(), domain_id)
    except ClaimNotFound:
        abort(404)


def _page(claim: DomainClaim) -> dict[str, object]:
    tenant_id, is_proven = current_organisation().tenant_id, claim.verified_at is not None
    keys = mail().dkim_keys.list_of(tenant_id, claim.name) if is_proven else []
    hosts = mail().host_certificates.list_of(tenant_id, claim.name) if is_proven else []
    return {
        "claim": claim,
        "domain": display_domain(claim.name),
        "shown_records": [showing.record_of(claim, result) for result in claim.results],
        "summary": showing.summary(claim),
        "keys": keys,
        "certificates": certificates.shown(hosts),
        "sts_form": StsForm(mode=claim.sts_mode),
        "dkim_form": DkimWayForm(way=claim.dkim_way),
        "answer_time": showing.asked_at,
        "outcome_name": showing.outcome_name,
        "key_state": showing.key_state,
        "key_badge": showing.key_badge,
        "has_dkim_zone": bool(portal().settings.domains.names.dkim_zone),
    }


def _zone_of(claim: DomainClaim) -> str:
    """Return the zone that the evidence names, else the domain itself."""
    zones = [observation["zone"] for result in claim.results for observation in result.evidence if observation["zone"]]
    return next((zone for zone in zones if writing.in_zone(claim.name, zone)), claim.name)


def _servers_of(claim: DomainClaim) -> set[str]:
    """Return the name servers that the evidence names."""
    observations = [observation for result in claim.results for observation in result.evidence]
    return {answer["server"] for observation in observations for answer in observation["answers"]}
