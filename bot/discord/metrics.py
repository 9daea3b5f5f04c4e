"""Metrics: what Prometheus is told of the bot; of kernels and cells the service tells by itself.

No user, guild or channel is named in them.
"""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_TURN_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)
#: Of what a program could make up, so that there is no end of labels.
_MOST_LABEL_VALUES = 100


class Metrics:
    """Counters and gauges in a registry of their own."""

    #: The type of what :meth:`text` gives.
    CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(self) -> None:
        """Everything is 0."""
        self._registry = registry = CollectorRegistry()
        self._turns = Counter("cellmate_turns", "Turns that ended", ["status"], registry=registry)
        self._turn_s = Histogram(
            "cellmate_turn_seconds", "How long turns took", buckets=_TURN_S, registry=registry
        )
        self._requests = Counter(
            "cellmate_model_requests",
            "Requests to the model's server",
            ["outcome"],
            registry=registry,
        )
        self._tokens = Counter(
            "cellmate_model_tokens", "Tokens, read and written", ["kind"], registry=registry
        )
        self._delivered = Counter(
            "cellmate_deliveries", "Deliveries that ended", ["outcome"], registry=registry
        )
        self._retries = Counter(
            "cellmate_delivery_retries", "Tries to deliver that came to nothing", registry=registry
        )
        self._waiting = Gauge(
            "cellmate_deliveries_waiting", "Deliveries not done yet", registry=registry
        )
        self._identifies = Counter(
            "cellmate_gateway_identifies", "Sessions asked of Discord's gateway", registry=registry
        )
        self._errors = Counter(
            "cellmate_handler_errors", "Faults in what answers people", registry=registry
        )
        self._gateway = Gauge(
            "cellmate_gateway_ready", "Connections to Discord that are up", registry=registry
        )
        self._running = Gauge("cellmate_turns_running", "Turns that run", registry=registry)
        self._after_restart = Counter(
            "cellmate_turns_after_restart",
            "Turns that an earlier run left: their cell went on, or they were cut off",
            ["result"],
            registry=registry,
        )
        self._labels: set[str] = set()

    def turn(self, status: str, duration_s: float) -> None:
        """A turn ended."""
        self._turns.labels(self._label(status)).inc()
        self._turn_s.observe(duration_s)

    def turn_after_restart(self, result: str) -> None:
        """An earlier run had left a turn: "went_on" with its cell, or "cut_off"."""
        self._after_restart.labels(self._label(result)).inc()

    def model_request(self, outcome: str) -> None:
        """The model's server was asked; ``outcome`` is "ok" or an error's class."""
        self._requests.labels(self._label(outcome)).inc()

    def tokens(self, *, read: int, written: int) -> None:
        """A model read and wrote."""
        self._tokens.labels("read").inc(read)
        self._tokens.labels("written").inc(written)

    def delivery(self, outcome: str) -> None:
        """A delivery is done: "delivered", "failed" or "dropped"."""
        self._delivered.labels(self._label(outcome)).inc()

    def retry(self) -> None:
        """A try to deliver came to nothing."""
        self._retries.inc()

    def identify(self) -> None:
        """A session is asked for."""
        self._identifies.inc()

    def handler_error(self) -> None:
        """What answers people has a fault."""
        self._errors.inc()

    def watch(
        self,
        *,
        waiting: Callable[[], int],
        ready: Callable[[], int],
        running: Callable[[], int],
    ) -> None:
        """Say how to find out, whenever asked, what can be counted at any time.

        Args:
            waiting: deliveries not done yet.
            ready: connections to Discord that are up.
            running: turns that run.
        """
        self._waiting.set_function(lambda: float(waiting()))
        self._gateway.set_function(lambda: float(ready()))
        self._running.set_function(lambda: float(running()))

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)

    def _label(self, value: str) -> str:
        if value not in self._labels and len(self._labels) >= _MOST_LABEL_VALUES:
            return "other"
        self._labels.add(value)
        return value
