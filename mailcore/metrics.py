"""Counters and timings of a mail process, in Prometheus' text format at its health port."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

CONNECTIONS = Counter("eider_connections", "Connections accepted", ["server"])
CONNECTIONS_OPEN = Gauge("eider_connections_open", "Connections open now", ["server"])
CONNECTIONS_REFUSED = Counter("eider_connections_refused", "Connections not let in", ["server", "reason"])
COMMANDS = Counter("eider_commands", "Commands by verb and kind of answer", ["server", "verb", "outcome"])
DELIVERIES = Counter("eider_deliveries", "Recipients of delivered or refused messages", ["outcome"])
DELIVERY_SECONDS = Histogram(
    "eider_delivery_seconds",
    "From the end of DATA to the last recipient's reply",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RECEIVED_BYTES = Counter("eider_delivery_bytes", "Message bytes taken in by LMTP")
LOOP_BLOCKED = Counter("eider_loop_blocked", "Times the event loop stood still for over half a second")
