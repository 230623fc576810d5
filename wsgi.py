"""The portal for a WSGI server: `gunicorn wsgi:app`."""

import os

from portal.app import create_app
from portal.settings import PortalSettings

app = create_app(PortalSettings.from_environment(os.environ))
