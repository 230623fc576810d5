"""`python -m mailcore.cli`: the same as `eider`."""

import sys

from mailcore.cli import main

sys.exit(main())
