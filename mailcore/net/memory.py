"""What the C library keeps of memory that was given back."""

from __future__ import annotations

import ctypes
from contextlib import suppress
from typing import Final

_M_MMAP_THRESHOLD: Final = -3
"""Of <malloc.h>."""
LARGE_BYTES: Final = 128 * 1024


def give_back_large_blocks() -> None:
    """Have blocks of 128 KiB and more given back to the system when they are freed, for good.

    glibc begins so, and raises the bound to the largest block that was freed: pieces of large bodies then lie among
    small things that stay, and what is between them is never given back. Elsewhere it does nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
