"""The local Stripe in a test, and the real SDK that talks to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import stripe

from infra.devstack.outside.stripe import API_KEY, WEBHOOK_SECRET
from infra.devstack.outside.stripe.server import StripeServer
from infra.devstack.outside.stripe.webhooks import signature
from infra.devstack.outside.stripe.world import Object, World

__all__ = ["API_KEY", "WEBHOOK_SECRET", "Object", "StripeServer", "World", "client_of", "local_stripe", "signature"]


def client_of(server: StripeServer) -> stripe.StripeClient:
    """The SDK's client, without second attempts: a fault of ours must show."""
    return stripe.StripeClient(API_KEY, base_addresses={"api": server.url}, max_network_retries=0)


@contextmanager
def local_stripe(endpoint: str = "", now: int | None = None) -> Iterator[StripeServer]:
    """Serve until the end of the block."""
    with StripeServer(endpoint=endpoint, now=now) as server:
        yield server
