# SPDX-License-Identifier: Apache-2.0
"""Every metric: its name, help text, labels and buckets.

RPC metrics have the names of go-grpc-middleware, so existing dashboards and alerts apply; our own begin with lossd_.
Labels have few values: method and loss names, status codes, names in the tokens file. No label holds a shape or other request data.

The event loop counts in plain numbers, and a scrape turns them into metric families: every call is observed several times, and
each observation costs a Histogram of prometheus_client 3 us.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

_SECONDS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_QUEUE_SECONDS = (1e-6, 1e-5, *_SECONDS)
_COMPUTE_SECONDS = (1e-5, 2.5e-5, 5e-5, *_SECONDS)
_CALLS = tuple(float(2**power) for power in range(13))

_RPC = ("grpc_type", "grpc_service", "grpc_method")
_REASONS = ("idle", "freed", "max_bytes", "max_elements")


class _Histogram:
    """Counts of observations by bucket. `bounds` are the buckets' inclusive upper ends."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def add_to(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        """Adds the cumulative counts to the family."""
        total, buckets = 0, []
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append((str(floatToGoString(bound)), total))  # type: ignore[no-untyped-call]
        family.add_metric(labels, buckets, self._sum)


class Metrics(Collector):
    """The metrics of one server, in a registry of their own. Updated on one event loop."""

    def __init__(self) -> None:
        self._handled: Counter[tuple[str, str, str, str]] = Counter()
        self._caller_rpcs: Counter[tuple[str, str]] = Counter()
        self._handling: dict[tuple[str, str, str], _Histogram] = {}
        self._queue_seconds = _Histogram(_QUEUE_SECONDS)
        self._batches = dict.fromkeys(_REASONS, 0)
        self._batch_calls: defaultdict[str, _Histogram] = defaultdict(lambda: _Histogram(_CALLS))
        self._compute_seconds: defaultdict[str, _Histogram] = defaultdict(lambda: _Histogram(_COMPUTE_SECONDS))
        self._queued_calls = self._queued_bytes = self._in_flight_bytes = _nothing
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def watch_queue(self, queued_calls: Callable[[], int], queued_bytes: Callable[[], int]) -> None:
        """Sets the functions that give the queue's gauges at every scrape."""
        self._queued_calls, self._queued_bytes = queued_calls, queued_bytes

    def watch_in_flight(self, in_flight_bytes: Callable[[], int]) -> None:
        """Sets the function that gives the gauge of bytes in flight at every scrape."""
        self._in_flight_bytes = in_flight_bytes

    def rpc(self, kind: str, service: str, method: str) -> Callable[[str, float], None]:
        """A function (status code, seconds) to call at the end of every RPC of this method."""
        handling = self._handling[kind, service, method] = _Histogram(_SECONDS)
        handled = self._handled

        def observe(code: str, seconds: float) -> None:
            handling.observe(seconds)
            handled[kind, service, method, code] += 1

        return observe

    def caller_rpc(self, caller: str, code: str) -> None:
        """Counts a completed RPC of a caller with a token."""
        self._caller_rpcs[caller, code] += 1

    def batch_computed(self, loss: str, reason: str, calls: int, compute_seconds: float, queued: Sequence[tuple[float, int]]) -> None:
        """See BatchObserver."""
        self._batches[reason] += 1
        self._batch_calls[loss].observe(calls)
        self._compute_seconds[loss].observe(compute_seconds)
        for seconds, times in queued:
            self._queue_seconds.observe(seconds, times)

    def collect(self) -> Iterator[Metric]:
        """Every metric with its current values. May be called on any thread."""
        handled = CounterMetricFamily("grpc_server_handled", "RPCs completed on the server, by status code.", labels=(*_RPC, "grpc_code"))
        for labels, count in self._handled.copy().items():
            handled.add_metric(labels, count)
        yield handled
        text = "Seconds from the arrival of a request to its response."
        yield _family("grpc_server_handling_seconds", text, _RPC, list(self._handling.items()))
        callers = CounterMetricFamily(
            "lossd_caller_rpcs", "RPCs completed, by name of the caller's token and by status code.", labels=("caller", "code")
        )
        for names, count in self._caller_rpcs.copy().items():
            callers.add_metric(names, count)
        yield callers
        yield GaugeMetricFamily("lossd_queue_calls", "Calls waiting for the device.", self._queued_calls())
        yield GaugeMetricFamily("lossd_queue_bytes", "Tensor bytes of the calls waiting for the device.", self._queued_bytes())
        text = "Bytes held for requests and answers, from the arrival of a request until its answer is sent."
        yield GaugeMetricFamily("lossd_in_flight_bytes", text, self._in_flight_bytes())
        text = "Seconds from a call's arrival in the queue to the start of its batch."
        yield _family("lossd_queue_seconds", text, (), [((), self._queue_seconds)])
        batches = CounterMetricFamily(
            "lossd_batches",
            "Batches started, by reason: idle (a call found the device idle), freed (calls had gathered while the device was busy), "
            "max_bytes or max_elements (the batch was full; further calls stayed in the queue).",
            labels=("reason",),
        )
        for reason, count in self._batches.items():
            batches.add_metric((reason,), count)
        yield batches
        yield _family("lossd_batch_calls", "Calls per batch.", ("loss",), _by_loss(self._batch_calls))
        yield _family("lossd_compute_seconds", "Seconds that the computation of a batch took.", ("loss",), _by_loss(self._compute_seconds))


def _nothing() -> int:
    return 0


def _by_loss(histograms: dict[str, _Histogram]) -> "list[tuple[tuple[str, ...], _Histogram]]":
    return [((loss,), histogram) for loss, histogram in histograms.copy().items()]


def _family(
    name: str, text: str, labels: Sequence[str], histograms: "Sequence[tuple[tuple[str, ...], _Histogram]]"
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, histogram in histograms:
        histogram.add_to(family, values)
    return family
