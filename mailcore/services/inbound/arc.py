"""ARC sets (RFC 8617) for mail that is sent on: what our own filter found of its sender, sealed with our host's key.

Whoever gets the mail may then believe our filter where the sender's own signatures and SPF do not hold any more.
The filter also validates the chain that came with a message; its word, `arc=`, goes into the seal. A chain that it
did not look at is not continued.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from mailcore.errors import SyntaxFault
from mailcore.message.headers import header_size
from mailcore.model.dkim import DkimAlgorithm
from mailcore.services.outbound.dkim import OFFLOAD_BYTES, Dkim
from mailcore.services.outbound.dkim_signatures import Signer, dkimpy, take_apart
from mailcore.services.process.offload import Offload

log = logging.getLogger(__name__)

CACHE_S: Final = 30.0


class Arc:
    """Seals with the RSA key of one domain of ours; without such a key nothing is sealed."""

    def __init__(
        self, keys: Dkim, offload: Offload, domain: str, authserv_id: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keys = keys
        self._offload = offload
        self._domain = domain
        self._authserv_id = authserv_id
        self._clock = clock
        self._signer: Signer | None = None
        self._read_again_at = float("-inf")

    def seal(self, message: bytes) -> bytes:
        """Return the fields to put in front of a message, b"" if nothing can be sealed.

        One round trip every 30 s.

        Args:
            message: complete, with CRLF; Authentication-Results in our name are our filter's.

        Raises:
            StoreUnavailable: the directory did not answer.
        """
        if b"uthentication-" not in message[: header_size(message)]:
            return b""
        signer = self._current()
        if signer is None:
            return b""

        def work() -> bytes:
            return arc_set(message, self._domain, signer, self._authserv_id)

        return self._offload.run(work) if len(message) >= OFFLOAD_BYTES else work()

    def _current(self) -> Signer | None:
        if self._clock() >= self._read_again_at:
            signers = self._keys.signers(self._domain)
            self._signer = next((each for each in signers if each.algorithm is DkimAlgorithm.RSA), None)
            self._read_again_at = self._clock() + CACHE_S
        return self._signer


def arc_set(
    message: bytes,
    domain: str,
    signer: Signer,
    authserv_id: str,
    *,
    names: Sequence[bytes] | None = None,
    at_s: int | None = None,
    standardize: bool = False,
) -> bytes:
    """Return one ARC set as whole lines, b"" where there is nothing to seal or the chain cannot go on.

    Args:
        message: complete, with CRLF.
        domain: whose key signs.
        signer: the key, RSA: RFC 8617 knows no other that everybody verifies.
        authserv_id: whose Authentication-Results are taken over.
        names: lower-case fields to sign; None: those that dkimpy advises.
        at_s: the time of signing, for tests.
        standardize: tags in one order, for tests.
    """
    import authres  # as dkimpy: where nothing is sealed nobody needs it

    unfit = (SyntaxFault, dkimpy().DKIMException, authres.AuthResError, UnicodeError, ValueError, KeyError)
    try:
        sealing = dkimpy().ARC()
        take_apart(sealing, message)
        made = sealing.sign(
            signer.selector.encode(),
            domain.encode(),
            signer.private_key,
            authserv_id.encode(),
            include_headers=None if names is None else list(names),
            timestamp=at_s,
            standardize=standardize,
        )
    except unfit as error:
        log.info("arc.not_sealed", extra={"reason": type(error).__name__})
        return b""
    return b"".join(field.rstrip(b"\r\n") + b"\r\n" for field in made)
