"""A server with one function replaced, for negative controls: `python -m tests.system.broken_server NAME SERVER ...`.

A test that stays green with it proves nothing.
"""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import re  # noqa: E402
import sys  # noqa: E402
from collections.abc import Callable  # noqa: E402

from mailcore.imap.wire import scanner  # noqa: E402
from mailcore.main import main  # noqa: E402
from mailcore.model import search  # noqa: E402

_hoard: list[bytes] = []


def take_memory_for_what_is_announced() -> None:
    """The room for a literal is made before its size is looked at."""
    announce = scanner.Scanner._announce

    def hoarding(self: scanner.Scanner, match: re.Match[bytes], mark: int) -> scanner.Event | None:
        _hoard.append(b"x" * min(int(match[2]), 64 << 20))
        return announce(self, match, mark)

    scanner.Scanner._announce = hoarding  # type: ignore[method-assign]


def nest_without_limit() -> None:
    """Search keys call themselves as deep as the client likes."""
    search.MAX_DEPTH = 10**9


BREAKS: dict[str, Callable[[], None]] = {
    "literal-memory": take_memory_for_what_is_announced,
    "search-depth": nest_without_limit,
}
LAUNCH = ("-m", "tests.system.broken_server")

if __name__ == "__main__":
    BREAKS[sys.argv[1]]()
    sys.exit(main(sys.argv[2:], os.environ))
