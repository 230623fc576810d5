"""What staff read of features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flask_babel import lazy_gettext as _

from mailcore.model.features import Feature

FEATURES: Final[Mapping[Feature, tuple[Any, Any]]] = {
    Feature.DNS_WRITING: (
        _("Writing DNS records"),
        _("The portal writes records at the organisation's DNS provider. Off: records are shown, and entered by hand."),
    ),
    Feature.HOST_CERTIFICATES: (
        _("Certificates for its hosts"),
        _("Certificates are ordered for hosts of its domains. Off: none is ordered; those it has are renewed."),
    ),
    Feature.MAIL_EXPORTS: (
        _("Files with all mail"),
        _("Its people take their mail along as one file. Off: none is written; those that are ready can be fetched."),
    ),
    Feature.USER_SCRIPTS: (
        _("Sieve scripts of users"),
        _("Its people's own scripts run. Off: mail is filed as if they had none; rules go on."),
    ),
}
"""Name, and what it does."""
