"""The portal for a WSGI server: `gunicorn wsgi:app`."""

import os
import threading

from mailcore import log
from mailcore.net.offload import GeventOffload
from mailcore.services.wiring import connect
from portal.app import create_app
from portal.settings import PortalSettings

log.configure(os.environ.get("EIDER_LOG_LEVEL", "INFO").upper())
settings = PortalSettings.from_environment(os.environ)
services = connect(settings.mail, GeventOffload())
services.start(lambda work: threading.Thread(target=work, daemon=True).start())
app = create_app(settings, services)
