# SPDX-License-Identifier: Apache-2.0
"""Every metric: its name, help text, labels and buckets.

RPC metrics have the names of go-grpc-middleware, so existing dashboards and alerts apply; our own begin with lossd_.
Labels are bounded: method and loss names, status codes, names of the tokens file. Never a shape or anything else from a request.
"""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_CALLS = tuple(float(2**power) for power in range(13))


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        rpc_labels = ("grpc_type", "grpc_service", "grpc_method")
        self._handled = Counter(
            "grpc_server_handled_total",
            "RPCs completed on the server, by status code.",
            (*rpc_labels, "grpc_code"),
            registry=self.registry,
        )
        self._handling = Histogram(
            "grpc_server_handling_seconds",
            "From the arrival of a request to its response, in seconds.",
            rpc_labels,
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._queue_calls = Gauge("lossd_queue_calls", "Calls that wait for the device.", registry=self.registry)
        self._queue_bytes = Gauge("lossd_queue_bytes", "Bytes of the calls that wait.", registry=self.registry)
        self._in_flight_bytes = Gauge(
            "lossd_in_flight_bytes", "Bytes of requests between arrival and answer, answers included.", registry=self.registry
        )
        self._queue_seconds = Histogram(
            "lossd_queue_seconds",
            "From a call's arrival in the queue to the start of its batch, in seconds.",
            buckets=(1e-6, 1e-5, *_SECONDS),
            registry=self.registry,
        )
        self._batches = Counter(
            "lossd_batches_total",
            "Batches started, by reason: idle (a call found the device idle), freed (calls had gathered while it was busy), "
            "max_bytes or max_elements (filled to this limit; further calls stayed behind).",
            ("reason",),
            registry=self.registry,
        )
        self._batches_by_reason = {reason: self._batches.labels(reason) for reason in ("idle", "freed", "max_bytes", "max_elements")}
        self._batch_calls = Histogram("lossd_batch_calls", "Calls in a batch.", ("loss",), buckets=_CALLS, registry=self.registry)
        self._compute_seconds = Histogram(
            "lossd_compute_seconds",
            "Computation of a batch, in seconds.",
            ("loss",),
            buckets=(1e-5, 2.5e-5, 5e-5, *_SECONDS),
            registry=self.registry,
        )

        self._caller_rpcs = Counter(
            "lossd_caller_rpcs_total",
            "RPCs completed, by the name of the caller's token and status code.",
            ("caller", "code"),
            registry=self.registry,
        )

    def watch_queue(self, queued_calls: Callable[[], int], queued_bytes: Callable[[], int]) -> None:
        """Reads the queue's gauges from the queue, at every scrape."""
        self._queue_calls.set_function(queued_calls)
        self._queue_bytes.set_function(queued_bytes)

    def watch_in_flight(self, in_flight_bytes: Callable[[], int]) -> None:
        """Reads the gauge from the admission, at every scrape."""
        self._in_flight_bytes.set_function(in_flight_bytes)

    def rpc(self, kind: str, service: str, method: str) -> Callable[[str, float], None]:
        """A function (status code, seconds) to call at the end of every RPC of this method."""
        handling = self._handling.labels(kind, service, method)
        handled: dict[str, Counter] = {}

        def observe(code: str, seconds: float) -> None:
            handling.observe(seconds)
            counter = handled.get(code)
            if counter is None:
                counter = handled[code] = self._handled.labels(kind, service, method, code)
            counter.inc()

        return observe

    def caller_rpc(self, caller: str, code: str) -> None:
        """An RPC of a caller with a token was completed."""
        self._caller_rpcs.labels(caller, code).inc()

    def batch_started(self, reason: str) -> None:
        """See BatchObserver."""
        self._batches_by_reason[reason].inc()

    def batch_computed(self, loss: str, calls: int, compute_seconds: float, queue_seconds: Sequence[float]) -> None:
        """One batch was computed."""
        self._batch_calls.labels(loss).observe(calls)
        self._compute_seconds.labels(loss).observe(compute_seconds)
        for seconds in queue_seconds:
            self._queue_seconds.observe(seconds)
