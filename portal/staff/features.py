"""Features as staff switch them: Postgres leads, and the mail plane is told, so that mail flows without Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import func, select

from mailcore.errors import ValueInvalid
from mailcore.model.actor import Actor, ActorKind, Door
from mailcore.model.features import BY_DEFAULT, Feature, is_in_share
from mailcore.services import MailServices
from portal.accounts.models import Organisation
from portal.audit.services import record
from portal.database import session, unit_of_work, utc_now
from portal.jobs import enqueue_after_commit
from portal.staff.models import FeatureChoice, FeatureShare
from portal.staff.services import words

SWITCHER: Final = Actor(ActorKind.SYSTEM, Door.WORKER, "features")
_KNOWN: Final = {feature.value: feature for feature in Feature}


@dataclass(frozen=True, slots=True)
class Switch:
    """How it stands with a feature of one organisation."""

    feature: Feature
    is_on: bool
    choice: FeatureChoice | None
    """None: as its share has it."""


@dataclass(frozen=True, slots=True)
class Spread:
    """How it stands with a feature of all organisations."""

    feature: Feature
    percent: int
    share: FeatureShare | None
    """None: as it is by default."""
    chosen_on: int
    chosen_off: int
    """Organisations for which staff chose."""


def is_on(organisation: Organisation, feature: Feature) -> bool:
    """Tell whether an organisation has a feature now; two round trips."""
    return switches_of(organisation)[feature].is_on


def switches_of(organisation: Organisation) -> Mapping[Feature, Switch]:
    """Return how it stands with each feature; what is stored of features that nobody knows is left out."""
    wanted = select(FeatureChoice).where(FeatureChoice.organisation_id == organisation.id)
    choices = {one.feature: one for one in session().scalars(wanted.execution_options(populate_existing=True))}
    shares = _shares()
    found = {}
    for feature in Feature:
        choice = choices.get(feature.value)
        in_share = is_in_share(feature, str(organisation.tenant_id), _percent(feature, shares))
        found[feature] = Switch(feature, in_share if choice is None else choice.is_on, choice)
    return found


def spreads() -> list[Spread]:
    """Return how it stands with each feature of all; two round trips."""
    counted = select(FeatureChoice.feature, FeatureChoice.is_on, func.count()).group_by(
        FeatureChoice.feature, FeatureChoice.is_on
    )
    chosen = {(row[0], row[1]): int(row[2]) for row in session().execute(counted)}
    shares = _shares()
    return [
        Spread(
            feature,
            _percent(feature, shares),
            shares.get(feature),
            chosen.get((feature.value, True), 0),
            chosen.get((feature.value, False), 0),
        )
        for feature in Feature
    ]


def choose(actor: Actor, organisation: Organisation, feature: Feature, is_on: bool | None, reason: str) -> None:
    """Switch a feature of one organisation; None: as its share has it. Told in its audit log and in the platform's.

    Raises:
        ValueInvalid: without a reason.
    """
    reason = words(reason)
    with unit_of_work() as current:
        before = current.get(FeatureChoice, (organisation.id, feature.value), with_for_update=True)
        if is_on is not None:
            current.merge(
                FeatureChoice(
                    organisation_id=organisation.id,
                    feature=feature.value,
                    is_on=is_on,
                    reason=reason,
                    chosen_by=actor.identity,
                    chosen_at=utc_now(),
                )
            )
        elif before is not None:
            current.delete(before)
        current.flush()
        now_is = "as others" if is_on is None else "on" if is_on else "off"
        details = {"feature": feature.value, "switched": now_is, "reason": reason}
        record(actor, "feature.switched", organisation.name, details, organisation_id=organisation.id)
        record(actor, "feature.switched", organisation.name, {**details, "organisation": str(organisation.id)})
        enqueue_after_commit("features.apply", organisation_id=str(organisation.id))


def set_share(actor: Actor, feature: Feature, percent: int, reason: str) -> None:
    """Let so many of a hundred organisations have a feature; the platform's audit log tells it, and theirs by its job.

    Raises:
        ValueInvalid: without a reason, or no number from 0 to 100.
    """
    reason = words(reason)
    if not 0 <= percent <= 100:
        raise ValueInvalid("a share is a number from 0 to 100")
    with unit_of_work() as current:
        current.merge(
            FeatureShare(
                feature=feature.value, percent=percent, reason=reason, chosen_by=actor.identity, chosen_at=utc_now()
            )
        )
        record(actor, "feature.shared", feature.value, {"percent": percent, "reason": reason})
        enqueue_after_commit("features.all")


def apply(mail: MailServices, organisation_id: UUID) -> bool:
    """Tell the mail plane what an organisation's tenant has; return whether anything differed. Twice is once."""
    organisation = session().get(Organisation, organisation_id, populate_existing=True)
    tenant = None if organisation is None else mail.tenants.find(organisation.tenant_id)
    if organisation is None or tenant is None:
        return False
    wanted = {
        feature: switch.is_on
        for feature, switch in switches_of(organisation).items()
        if switch.is_on is not BY_DEFAULT[feature]
    }
    if tenant.features == wanted:
        return False
    mail.tenants.set_features(SWITCHER, tenant.id, wanted)
    return True


def _shares() -> dict[Feature, FeatureShare]:
    rows = session().scalars(select(FeatureShare).execution_options(populate_existing=True))
    return {_KNOWN[one.feature]: one for one in rows if one.feature in _KNOWN}


def _percent(feature: Feature, shares: Mapping[Feature, FeatureShare]) -> int:
    share = shares.get(feature)
    return share.percent if share is not None else 100 if BY_DEFAULT[feature] else 0
