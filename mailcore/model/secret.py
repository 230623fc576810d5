"""A value that must never be shown: passwords, tokens and keys travel in it."""

from __future__ import annotations

import hmac


class Secret:
    """Text or bytes whose repr is stars; `reveal` is the one way to the value."""

    __slots__ = ("_value",)

    def __init__(self, value: str | bytes) -> None:
        self._value = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)

    def reveal(self) -> bytes:
        """Return the value; text is UTF-8."""
        return self._value

    def reveal_text(self) -> str:
        """Return the value as text.

        Raises:
            UnicodeDecodeError: it is not UTF-8.
        """
        return self._value.decode("utf-8")

    def __len__(self) -> int:
        return len(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is never pickled")
