"""Our zone of DKIM keys, which CNAMEs of domains lead into."""

from __future__ import annotations

from collections.abc import Sequence

from mailcore.model.dkim import DkimKey
from portal.domains.providers.plan import Change
from portal.domains.providers.table import PROVIDERS
from portal.domains.providers.writer import ZoneWriter
from portal.domains.wanted import DKIM_SLOTS
from portal.mail_plane import Portal

TTL_S = 300


def publish(parts: Portal, domain: str, keys: Sequence[DkimKey]) -> tuple[Change, ...]:
    """Let our zone have a domain's keys that take turns, and no others of it; return what was changed.

    Raises:
        ProviderFailed: our server did not take them; the next run does it.
    """
    settings = parts.settings.domains
    if settings.dkim_zone_server is None:
        return ()
    zone = settings.names.dkim_zone
    writer = ZoneWriter(PROVIDERS["powerdns"], zone, settings.dkim_zone_server.key, settings.dkim_zone_server.url)
    wanted = {(settings.names.dkim_target(domain, key.selector), key.record_value) for key in keys
              if key.selector in DKIM_SLOTS}  # fmt: skip
    targets = {settings.names.dkim_target(domain, slot) for slot in DKIM_SLOTS}
    held = {(each.name, each.value) for each in writer.held() if each.type == "TXT" and each.name in targets}
    changes = tuple(
        [Change(True, name, "TXT", value, TTL_S) for name, value in sorted(wanted - held)]
        + [Change(False, name, "TXT", value, TTL_S) for name, value in sorted(held - wanted)]
    )
    writer.write(changes)
    return changes
