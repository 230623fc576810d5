"""A fault that only a fuzzer with eyes for coverage finds: the guided fuzz must find it."""

from __future__ import annotations

import sys

import atheris


@atheris.instrument_func
def breaks_at_a_word(data: bytes) -> None:
    """Raise at four bytes, one after the other."""
    for place, byte in enumerate(b"Eid!"):
        if data[place : place + 1] != bytes([byte]):
            return
    raise RuntimeError("found")


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[2:]], breaks_at_a_word)
    atheris.Fuzz()
