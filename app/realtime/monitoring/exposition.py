"""The statistics of the gateway in the exposition formats of Prometheus.

Formats: Prometheus text 0.0.4 and OpenMetrics 1.0. Names: https://prometheus.io/docs/practices/naming/
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import Histogram, Number, Statistics
from app.realtime.monitoring.view import recorder_lag

_By = Mapping[str, Number]


def exposition(hub: Hub, accept: str, silent_pairs: int = 0) -> tuple[bytes, str]:
    """Return the metrics of all workers and their content type, in the format that the ``Accept`` header prefers.

    ``silent_pairs`` is the number of pairs that have stopped while their market is open.
    """
    registry = CollectorRegistry()
    registry.register(_HubCollector(hub, silent_pairs))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _HubCollector(Collector):
    """Collects the statistics of all workers, and the last heartbeats of the feed and of the recorder, at each scrape."""

    def __init__(self, hub: Hub, silent_pairs: int) -> None:
        self._hub = hub
        self._silent_pairs = silent_pairs
        self._rows = hub.statistics.table.rows

    def collect(self) -> Iterable[Metric]:
        yield from self._clients()
        yield from self._delivery()
        yield from self._log()
        yield from self._processes()
        yield from self._feed()
        yield from self._recorder()

    def _clients(self) -> Iterator[Metric]:
        clients = GaugeMetricFamily("fx_clients", "Number of connected streaming clients.", labels=["transport", "worker"])
        for worker, row in self._workers():
            for transport, number in row.clients.items():
                clients.add_metric([transport, worker], number.value)
        yield clients
        yield GaugeMetricFamily("fx_clients_limit", "Maximum number of connected streaming clients.", value=self._hub.max_clients)
        yield self._gauge("fx_subscriptions", "Number of subscribed pairs, summed over clients.", lambda row: row.subscriptions)
        yield self._gauge(
            "fx_lagging_clients", "Number of clients that read more slowly than events are sent.", lambda row: row.lagging
        )
        yield self._gauge("fx_buffered_bytes", "Bytes buffered for clients that lag or poll.", lambda row: row.buffered)
        yield self._counters("fx_connections", "Total streaming clients accepted.", "transport", lambda row: row.connections)
        yield self._counters("fx_refused_clients", "Total streaming clients refused.", "reason", lambda row: row.refused)
        yield self._counters("fx_cut_off_clients", "Total streaming clients cut off.", "reason", lambda row: row.cut_off)

    def _delivery(self) -> Iterator[Metric]:
        yield self._counters(
            "fx_deliveries", "Total events sent, counted once for each client.", "transport", lambda row: row.deliveries
        )
        yield self._counter("fx_sent_bytes", "Total bytes of events and answers sent to streaming clients.", lambda row: row.sent)
        latency = HistogramMetricFamily(
            "fx_delivery_latency_seconds",
            "Time from the publication of an event in the log until it is sent to a client, observed for each delivery.",
            labels=["transport"],
        )
        for transport in self._hub.statistics.latency:
            latency.add_metric([transport], *_buckets([row.latency[transport] for row in self._rows]))
        yield latency
        age = HistogramMetricFamily(
            "fx_price_age_seconds", "Time from the market time of the newest price of a batch until the batch is sent."
        )
        age.add_metric([], *_buckets([row.price_age for row in self._rows]))
        yield age
        yield self._counter(
            "fx_conflated_prices", "Total prices replaced by newer ones before a client read them.", lambda row: row.conflated
        )

    def _log(self) -> Iterator[Metric]:
        yield self._by_worker(CounterMetricFamily, "fx_log_events_read", "Total events read from the log.", lambda row: row.read)
        batches = HistogramMetricFamily("fx_log_batch_events", "Number of events in a batch read from the log.")
        batches.add_metric([], *_buckets([row.batches for row in self._rows]))
        yield batches
        yield self._by_worker(
            GaugeMetricFamily,
            "fx_log_lag_seconds",
            "Age of the newest event when it was read from the log.",
            lambda row: row.log_lag,
        )
        yield self._by_worker(
            GaugeMetricFamily,
            "fx_log_behind_events",
            "Number of events in the log that the worker had not read at its last heartbeat.",
            lambda row: row.log_behind,
        )
        yield self._by_worker(
            CounterMetricFamily, "fx_log_gaps", "Total gaps found in the log, where events were lost.", lambda row: row.gaps
        )
        yield self._by_worker(
            CounterMetricFamily,
            "fx_log_malformed_entries",
            "Total entries of the log skipped because no publisher of this gateway wrote them.",
            lambda row: row.malformed,
        )
        yield self._counters(
            "fx_resumes",
            "Total resumes, by where the events after the client's cursor were found.",
            "outcome",
            lambda row: row.resumes,
        )

    def _processes(self) -> Iterator[Metric]:
        yield self._by_worker(
            CounterMetricFamily, "fx_process_cpu_seconds", "Total user and system CPU time spent.", lambda row: row.cpu
        )
        yield self._by_worker(
            GaugeMetricFamily, "fx_process_resident_memory_bytes", "Resident memory size.", lambda row: row.memory
        )
        yield self._by_worker(
            GaugeMetricFamily,
            "fx_event_loop_lag_seconds",
            "Time by which the last periodic wake-up of the event loop was late.",
            lambda row: row.loop_lag,
        )

    def _feed(self) -> Iterator[Metric]:
        active = GaugeMetricFamily(
            "fx_feed_source_active",
            "Whether prices come from this source (1 or 0).",
            labels=["source"],
        )
        dropped = CounterMetricFamily(
            "fx_feed_dropped_quotes", "Total quotes that the feed received and did not publish.", labels=["reason"]
        )
        if self._hub.signs.feed is not None:
            for source, state in self._hub.signs.feed.sources.items():
                active.add_metric([source], state == "active")
            for reason, count in self._hub.signs.feed.dropped.items():
                dropped.add_metric([reason], count)
        yield active
        yield dropped
        yield GaugeMetricFamily(
            "fx_silent_pairs",
            "Number of pairs whose newest price is stale while their market is open.",
            value=self._silent_pairs,
        )

    def _recorder(self) -> Iterator[Metric]:
        events = GaugeMetricFamily(
            "fx_recorder_behind_events", "Number of events in the log that are not recorded yet.", labels=[]
        )
        seconds = GaugeMetricFamily("fx_recorder_behind_seconds", "Time span of the log that is not recorded yet.", labels=[])
        lost = CounterMetricFamily(
            "fx_recorder_lost_events", "Total events trimmed from the log before they were recorded.", labels=[]
        )
        refused = GaugeMetricFamily(
            "fx_recorder_refused_events",
            "Number of events kept aside because they cannot be read or the database does not take them.",
            labels=[],
        )
        unknown = CounterMetricFamily(
            "fx_recorder_losses_of_unknown_size", "Total losses from the log whose events could not be counted.", labels=[]
        )
        late = CounterMetricFamily("fx_recorder_late_quotes", "Total quotes that came too late for any bar.", labels=[])
        if (lag := recorder_lag(self._hub)) is not None:
            events.add_metric([], lag.behind_events)
            seconds.add_metric([], lag.behind_ms / 1000)
            lost.add_metric([], lag.lost_events)
            refused.add_metric([], lag.refused_events)
            unknown.add_metric([], lag.losses_of_unknown_size)
            late.add_metric([], lag.late_quotes)
        yield from (events, seconds, lost, unknown, late, refused)

    def _workers(self) -> Iterator[tuple[str, Statistics]]:
        """Return the rows with the numbers of their workers, which count from 1."""
        return ((str(number), row) for number, row in enumerate(self._rows, 1))

    def _total(self, of: Callable[[Statistics], Number]) -> float:
        return sum(of(row).value for row in self._rows)

    def _gauge(self, name: str, help: str, of: Callable[[Statistics], Number]) -> Metric:
        return GaugeMetricFamily(name, help, value=self._total(of))

    def _counter(self, name: str, help: str, of: Callable[[Statistics], Number]) -> Metric:
        return CounterMetricFamily(name, help, value=self._total(of))

    def _counters(self, name: str, help: str, label: str, of: Callable[[Statistics], _By]) -> Metric:
        family = CounterMetricFamily(name, help, labels=[label])
        for value in of(self._hub.statistics):
            family.add_metric([value], sum(of(row)[value].value for row in self._rows))
        return family

    def _by_worker(
        self,
        kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        help: str,
        of: Callable[[Statistics], Number],
    ) -> Metric:
        family = kind(name, help, labels=["worker"])
        for worker, row in self._workers():
            family.add_metric([worker], of(row).value)
        return family


def _buckets(histograms: Iterable[Histogram]) -> tuple[list[tuple[str, float]], float]:
    """Add up histograms of the same bounds. Return cumulative buckets, as Prometheus has them, and the sum."""
    together = list(histograms)
    counts = map(sum, zip(*(histogram.counts for histogram in together), strict=True))
    bounds = [*(str(float(bound)) for bound in together[0].bounds), "+Inf"]
    return list(zip(bounds, accumulate(counts), strict=True)), sum(histogram.sum for histogram in together)
