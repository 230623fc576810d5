"""`python -m mailcore SERVER ...`: one process that serves the named protocols.

The standard library is patched for gevent before anything else is imported.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import sys  # noqa: E402

from mailcore.main import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
