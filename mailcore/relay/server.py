"""The relay as a process: built out of the services, with no port of its own but that of its health."""

from __future__ import annotations

from mailcore.net.outgoing import OutgoingClient
from mailcore.relay.delivery import Deliverer
from mailcore.relay.handling import Parts
from mailcore.relay.lines import Lines
from mailcore.relay.loop import Relay
from mailcore.relay.mta_sts import MtaSts
from mailcore.relay.reports import Reports
from mailcore.relay.routes import Routes
from mailcore.services import MailServices
from mailcore.settings import MailSettings


def background(services: MailServices, settings: MailSettings) -> Relay:
    """Return the work that this process does without being connected to."""
    client = OutgoingClient(services.dns, settings.outgoing)
    own_names = frozenset({*settings.mx_hosts, settings.hostname.lower()})
    own_domain = settings.own_domain
    routes = Routes(
        services.dns,
        services.domains,
        services.smarthosts,
        MtaSts(services.dns, client, services.sts_policies),
        own_names,
        own_domain,
    )
    limits = settings.limits.outbound
    parts = Parts(
        work=services.outbound_work,
        routes=routes,
        client=client,
        deliverer=Deliverer(client, services.dns, settings.hostname),
        delivery=services.delivery,
        placement=services.placement,
        reports=Reports(
            services.queueing,
            services.outbound_work,
            services.trace,
            services.dkim,
            limits,
            settings.hostname,
            own_domain,
        ),
        suppressions=services.suppressions,
        reputation=services.reputation,
        lines=Lines(services.slots, limits),
        slots=services.slots,
        trace=services.trace,
        hostname=settings.hostname,
    )
    return Relay(parts, settings.redis_url)
