"""Certificates from an authority by ACME with HTTP-01 (RFC 8555 §8.3), renewed before they end.

A worker asks the authority; whichever process the authority then reaches over HTTP finds the answer in the
directory. Our account's key is sealed there.
"""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mailcore.errors import MailError, ValueInvalid
from mailcore.model.actor import Actor
from mailcore.model.address import domain_name
from mailcore.services.events.audit import Audit
from mailcore.services.process.clock import now
from mailcore.services.trust.certificates import Certificates
from mailcore.services.trust.sealing import Sealing
from mailcore.settings import AcmeSettings
from mailcore.store.directory import Directory
from mailcore.store.directory.acme import AcmeOrder

if TYPE_CHECKING:  # these take a quarter of a second to import, and only workers need them
    from acme.client import ClientV2
    from josepy.jwk import JWKRSA

log = logging.getLogger(__name__)

MAX_NAMES: Final = 100
RENEW_BEFORE: Final = dt.timedelta(days=30)
LEASE_S: Final = 300
ISSUE_S: Final = 120
FIRST_RETRY: Final = dt.timedelta(minutes=10)
LONGEST_RETRY: Final = dt.timedelta(hours=12)
KEY_BITS: Final = 2048
USER_AGENT: Final = "eider"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,200}", re.ASCII)


class AcmeFailed(Exception):
    """The authority refused, or could not be reached; the text says why."""


class Acme:
    """Orders certificates and renews them."""

    def __init__(
        self,
        directory: Directory,
        sealing: Sealing,
        certificates: Certificates,
        audit: Audit,
        settings: AcmeSettings | None,
        host_certificates_per_run: int,
    ) -> None:
        self._directory = directory
        self._sealing = sealing
        self._certificates = certificates
        self._audit = audit
        self._settings = settings
        self._host_certificates_per_run = host_certificates_per_run

    def request(self, actor: Actor, names: Sequence[str], *, is_default: bool = False) -> None:
        """Want a certificate for these names from now on; a worker gets it within minutes, and renews it.

        Raises:
            ValueInvalid: no names, too many, or a wildcard, which HTTP-01 cannot prove.
            DomainInvalid: not a domain name.
        """
        if self._settings is None:
            raise ValueInvalid("EIDER_ACME_DIRECTORY is not set: the URL of the authority's directory")
        if not 0 < len(names) <= MAX_NAMES:
            raise ValueInvalid(f"1 to {MAX_NAMES} names go into a certificate")
        if any("*" in name for name in names):
            raise ValueInvalid("a wildcard cannot be proven over HTTP: add such a certificate by hand")
        wanted = tuple(dict.fromkeys(domain_name(name) for name in names))
        with self._audit.of_platform(actor, "certificate.requested", {"names": wanted, "default": is_default}):
            self._directory.acme.put_order(wanted, is_default=is_default)

    def withdraw(self, actor: Actor, name: str) -> int:
        """Renew no certificate any more that includes a name; return how many orders that were."""
        canonical = domain_name(name)
        with self._audit.of_platform(actor, "certificate.withdrawn", {"name": canonical}):
            return self._directory.acme.delete_orders(canonical)

    def list_orders(self) -> list[AcmeOrder]:
        """Return what is wanted for the platform, and how the last try ended."""
        return self._directory.acme.list_orders()

    def answer(self, token: str) -> str | None:
        """Return what to answer an authority that asks for a token, or None; one read."""
        return self._directory.acme.find_challenge(token) if _TOKEN.fullmatch(token) else None

    def renew_due(self, actor: Actor) -> int:
        """Get every certificate that is missing or ends soon, one after the other; return how many came.

        The platform's first; for hosts of tenants' domains so many in a run, those that wait longest. What fails is
        tried again after ten minutes, then after twice as long, at most twelve hours.
        """
        if self._settings is None:
            return 0
        done = 0
        while (order := self._directory.acme.claim_due(LEASE_S)) is not None:
            done += self._renew(actor, self._settings, order)
        for _ in range(self._host_certificates_per_run):
            if (order := self._directory.acme.claim_due(LEASE_S, of_tenants=True)) is None:
                break
            done += self._renew(actor, self._settings, order)
        return done

    def _renew(self, actor: Actor, settings: AcmeSettings, order: AcmeOrder) -> bool:
        """Try one order, and note how that ended; return whether there is a new certificate."""
        try:
            chain_pem, key_pem = self._issue(settings, order.names)
            ends_at = self._certificates.add(
                actor, chain_pem, key_pem, is_default=order.is_default, tenant_id=order.tenant_id
            )
        except (AcmeFailed, MailError) as error:
            wait = min(FIRST_RETRY * 2**order.failures, LONGEST_RETRY)
            log.warning("acme.failed", extra={"names": order.names, "reason": str(error)})
            self._directory.acme.settle_order(order, now() + wait, str(error) or type(error).__name__)
            return False
        is_wanted = self._directory.acme.settle_order(order, max(ends_at - RENEW_BEFORE, now() + FIRST_RETRY))
        if not is_wanted and order.tenant_id is not None:  # the domain went meanwhile
            self._directory.certs.delete_of_hosts(order.tenant_id, order.names)
        return is_wanted

    # -- the protocol -----------------------------------------------------------------------

    def _issue(self, settings: AcmeSettings, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Return a new chain and its key.

        Raises:
            AcmeFailed: the authority refused, or could not be reached.
        """
        import requests
        from acme import challenges, crypto_util, errors, messages
        from josepy.errors import Error as JoseError

        try:
            account_key, client = self._client(settings)
            key_pem = _pem(ec.generate_private_key(ec.SECP256R1()))
            order = client.new_order(crypto_util.make_csr(key_pem, list(names)))
            for authorization in order.authorizations:
                if authorization.body.status == messages.STATUS_VALID:
                    continue
                for offered in authorization.body.challenges:
                    if isinstance(offered.chall, challenges.HTTP01):
                        response, answer = offered.response_and_validation(account_key)
                        self._directory.acme.put_challenge(offered.chall.encode("token"), answer, now())
                        client.answer_challenge(offered, response)
                        break
                else:
                    raise AcmeFailed(f"{authorization.body.identifier.value}: the authority offers no HTTP-01")
            ends_at = dt.datetime.now() + dt.timedelta(seconds=ISSUE_S)  # noqa: DTZ005  what the library compares with
            finished = client.poll_and_finalize(order, ends_at)
        except errors.ValidationError as error:
            raise AcmeFailed(_why(error)) from error
        except requests.RequestException as error:
            log.warning("acme.unreachable", extra={"names": names, "reason": str(error)})
            raise AcmeFailed("the authority cannot be reached") from error
        except (errors.Error, JoseError) as error:
            raise AcmeFailed(str(error) or type(error).__name__) from error
        return finished.fullchain_pem.encode(), key_pem

    def _client(self, settings: AcmeSettings) -> tuple[JWKRSA, ClientV2]:
        """Return a client that speaks for our account, registered if it was not."""
        from acme import client, errors, messages
        from josepy.jwk import JWKRSA

        url = settings.directory_url
        purpose = f"acme.account:{url}"
        account = self._directory.acme.find_account(url)
        if account is None:
            sealed = self._sealing.seal(purpose, _pem(rsa.generate_private_key(65537, KEY_BITS)))
            account = self._directory.acme.insert_account_once(url, sealed)
        key = JWKRSA(key=serialization.load_pem_private_key(self._sealing.open(purpose, account.sealed_key), None))
        trusted = cast("bool", settings.authority_path or True)  # requests takes a path as well
        network = client.ClientNetwork(key, user_agent=USER_AGENT, verify_ssl=trusted)
        made = client.ClientV2(client.ClientV2.get_directory(url, network), network)
        if account.uri is not None:
            network.account = messages.RegistrationResource(uri=account.uri, body=messages.Registration())
            return key, made
        wanted = messages.NewRegistration.from_data(email=settings.contact or None, terms_of_service_agreed=True)
        try:
            uri = made.new_account(wanted).uri
        except errors.ConflictError as known:
            uri = known.location
            network.account = messages.RegistrationResource(uri=uri, body=messages.Registration())
        self._directory.acme.set_account_uri(url, uri)
        return key, made


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _why(error: object) -> str:
    """Return what the authority said of each name that it could not validate."""
    said: list[str] = []
    for authorization in getattr(error, "failed_authzrs", ()):
        name = authorization.body.identifier.value
        said += [f"{name}: {one.error.detail}" for one in authorization.body.challenges if one.error is not None]
    return "; ".join(said) or "the authority could not validate the names"
