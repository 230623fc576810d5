"""A server process that fails where a test says: `python -m tests.chaos.launcher POINT:N[,POINT:N] SERVER ...`.

At the N-th pass of POINT the process ends by SIGKILL.
"""

from gevent import monkey

monkey.patch_all()

import itertools  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402

from mailcore import fault  # noqa: E402
from mailcore.main import main  # noqa: E402


def die_at(pass_number: int) -> Callable[[], None]:
    """Return an action that kills this process at its `pass_number`-th call."""
    passes = itertools.count(1)

    def action() -> None:
        if next(passes) == pass_number:
            os.kill(os.getpid(), signal.SIGKILL)

    return action


if __name__ == "__main__":
    points = dict(entry.split(":") for entry in sys.argv[1].split(","))
    fault.install({name: die_at(int(count)) for name, count in points.items()})
    sys.exit(main(sys.argv[2:], os.environ))
