"""The platform's certificates beside those that an authority is still to issue."""

from __future__ import annotations

from dataclasses import dataclass

from bson import ObjectId

from mailcore.store.directory import Directory
from mailcore.store.directory.certs import StoredCertificate


@dataclass(frozen=True, slots=True)
class ListedCertificate:
    """A certificate, an order for one, or both.

    Attributes:
        id: the certificate's; of what is ordered only, the order's.
        stored: None while it is only ordered.
        is_ordered: an authority issues and renews it.
    """

    id: ObjectId
    names: tuple[str, ...]
    stored: StoredCertificate | None
    is_ordered: bool


class CertificateListing:
    """Reads certificates and orders; two round trips."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def list_all(self) -> list[ListedCertificate]:
        """Return everything, by id."""
        orders = self._directory.acme.list_orders()
        certificates = self._directory.certs.list_all()
        ordered = {frozenset(order.names) for order in orders}
        stored = {frozenset(one.server_names) for one in certificates}
        found = [
            ListedCertificate(one.id, one.server_names, one, frozenset(one.server_names) in ordered)
            for one in certificates
        ]
        found += [
            ListedCertificate(order.id, order.names, None, is_ordered=True)
            for order in orders
            if frozenset(order.names) not in stored
        ]
        return sorted(found, key=lambda one: one.id)

    def named(self, name: str) -> ListedCertificate | None:
        """Return the newest that holds a name."""
        return next((one for one in reversed(self.list_all()) if name in one.names), None)
