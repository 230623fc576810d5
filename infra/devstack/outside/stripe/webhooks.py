"""Events told to an endpoint: signed, at once by default; late, twice, out of order or not at all on demand."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterable

import stripe

from infra.devstack.outside.stripe.world import Object

TIMEOUT_S = 10
TRIES = 5
WAIT_S = 1.0

log = logging.getLogger(__name__)


def signature(payload: str, secret: str, timestamp: int | None = None) -> str:
    """Return the header by which an endpoint knows that we sent this."""
    at = int(time.time()) if timestamp is None else timestamp
    return str(stripe.WebhookSignature.generate_signature_header(payload, secret, timestamp=at))


class Webhooks:
    """Sends events to one endpoint, in a thread of its own."""

    def __init__(self, endpoint: str, secret: str) -> None:
        self.endpoint, self._secret = endpoint, secret
        """URL that is told."""
        self._waiting: queue.Queue[Object | None] = queue.Queue()
        self._held: list[Object] = []
        self._is_holding = False
        self._thread = threading.Thread(target=self._send_all, daemon=True, name="stripe-webhooks")
        self.answers: list[tuple[str, int]] = []
        """Of each sending: the event's id and the status; 0: nobody answered."""

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, and end."""
        self._waiting.put(None)
        self._thread.join(TIMEOUT_S)

    def told(self, event: Object) -> None:
        """Take an event: sent soon, or kept while events are held back."""
        if self._is_holding:
            self._held.append(event)
        else:
            self._waiting.put(event)

    def hold(self) -> None:
        """Keep events back from now on."""
        self._is_holding = True

    def held(self) -> list[Object]:
        """Return what is kept back, in the order in which it happened."""
        return list(self._held)

    def release(self, events: Iterable[Object] | None = None) -> None:
        """Send these events in this order, by default all as they happened; drop what was kept back."""
        wanted = self._held if events is None else list(events)
        self._held, self._is_holding = [], False
        for event in wanted:
            self._waiting.put(event)

    def settle(self, deadline_s: float = 30.0) -> None:
        """Wait until everything was sent and answered.

        Raises:
            TimeoutError: it was not in time.
        """
        until = time.monotonic() + deadline_s
        while self._waiting.unfinished_tasks:
            if time.monotonic() > until:
                raise TimeoutError("events are still on their way")
            time.sleep(0.01)

    def _send_all(self) -> None:
        while (event := self._waiting.get()) is not None:
            for attempt in range(TRIES):
                status = self._send(event)
                self.answers.append((event["id"], status))
                if 0 < status < 500:
                    break
                time.sleep(WAIT_S * attempt)
            self._waiting.task_done()

    def _send(self, event: Object) -> int:
        payload = json.dumps(event)
        request = urllib.request.Request(  # noqa: S310  an endpoint of ours
            self.endpoint,
            payload.encode(),
            {"Content-Type": "application/json", "Stripe-Signature": signature(payload, self._secret)},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError as error:
            log.warning("stripe.webhook.unsent", extra={"reason": str(error)})
            return 0
