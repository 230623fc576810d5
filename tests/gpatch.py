"""Patches the standard library for gevent before anything else imports ssl or threading.

Loaded by `-p tests.gpatch`, for a conftest is too late: plugins have imported ssl by then.
"""

from gevent import monkey

monkey.patch_all()
