"""Counters and timings of a mail process, in Prometheus' text format at its health port."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import REGISTRY, CollectorRegistry, Histogram, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


class Tally:
    """A counter for paths that every command takes: no lock and no look-up of children, for greenlets only."""

    def __init__(
        self, name: str, documentation: str, labels: tuple[str, ...] = (), registry: CollectorRegistry = REGISTRY
    ) -> None:
        """Count under `name`_total, once for each combination of label values."""
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._counts: dict[tuple[object, ...], float] = {}
        registry.register(self)

    def inc(self, *values: object, by: float = 1) -> None:
        """Add to the count of these label values."""
        self._counts[values] = self._counts.get(values, 0) + by

    def collect(self) -> Iterator[Metric]:
        """Return the counts, as the registry asks for them."""
        yield self._filled(CounterMetricFamily(self._name, self._documentation, labels=self._labels))

    def _filled(self, family: CounterMetricFamily | GaugeMetricFamily) -> Metric:
        for values, count in self._counts.items():
            family.add_metric([str(value) for value in values], count)
        return family


class Level(Tally):
    """What is there now, counted up and down, as cheaply."""

    def dec(self, *values: object) -> None:
        """Take one from the count of these label values."""
        self._counts[values] -= 1

    def collect(self) -> Iterator[Metric]:
        """Return the counts, as the registry asks for them."""
        yield self._filled(GaugeMetricFamily(self._name, self._documentation, labels=self._labels))


CONNECTIONS = Tally("eider_connections", "Connections accepted", ("server",))
CONNECTIONS_OPEN = Level("eider_connections_open", "Connections open now", ("server",))
CONNECTIONS_REFUSED = Tally("eider_connections_refused", "Connections not let in", ("server", "reason"))
COMMANDS = Tally("eider_commands", "Commands by verb and kind of answer", ("server", "verb", "outcome"))
DELIVERIES = Tally("eider_deliveries", "Recipients of delivered or refused messages", ("outcome",))
DELIVERY_SECONDS = Histogram(
    "eider_delivery_seconds",
    "From the end of DATA to the last recipient's reply",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RECEIVED_BYTES = Tally("eider_delivery_bytes", "Message bytes taken in by LMTP")
SUBMISSIONS = Tally("eider_submissions", "Messages taken over from people who are signed in", ("outcome",))
SUBMISSION_SECONDS = Histogram(
    "eider_submission_seconds",
    "From the end of a submitted message to its reply",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
API_SECONDS = Histogram(
    "eider_api_request_seconds",
    "Requests to the API by operation and status, until the answer begins",
    ["operation", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
LOOP_BLOCKED = Tally("eider_loop_blocked", "Times the event loop stood still for over half a second")
