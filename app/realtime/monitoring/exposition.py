"""What the gateway counts, as Prometheus and those who speak its formats read it.

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


def exposition(hub: Hub, accept: str) -> tuple[bytes, str]:
    """The figures of all workers, and their content type: what the ``Accept`` header prefers of the formats there are."""
    registry = CollectorRegistry()
    registry.register(_HubCollector(hub))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _HubCollector(Collector):
    """Reads the statistics of all workers, and the last signs of the feed and of the recorder, when it is asked."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._rows = hub.statistics.table.rows

    def collect(self) -> Iterable[Metric]:
        yield from self._clients()
        yield from self._delivery()
        yield from self._log()
        yield from self._processes()
        yield from self._feed()
        yield from self._recorder()

    def _clients(self) -> Iterator[Metric]:
        clients = GaugeMetricFamily("fx_clients", "Streaming clients.", labels=["transport", "worker"])
        for worker, row in self._workers():
            for transport, number in row.clients.items():
                clients.add_metric([transport, worker], number.value)
        yield clients
        yield GaugeMetricFamily("fx_clients_limit", "Streaming clients that are served at once.", value=self._hub.max_clients)
        yield self._gauge("fx_subscriptions", "Pairs followed, summed over clients.", lambda row: row.subscriptions)
        yield self._gauge("fx_lagging_clients", "Clients that cannot take what is sent at its pace.", lambda row: row.lagging)
        yield self._gauge("fx_buffered_bytes", "Bytes that wait for clients that lag or fetch.", lambda row: row.buffered)
        yield self._counters("fx_connections", "Clients taken in.", "transport", lambda row: row.connections)
        yield self._counters("fx_refused_clients", "Clients not taken in.", "reason", lambda row: row.refused)
        yield self._counters("fx_cut_off_clients", "Clients cut off.", "reason", lambda row: row.cut_off)

    def _delivery(self) -> Iterator[Metric]:
        yield self._counters(
            "fx_deliveries", "Events handed to clients, each counted for each client.", "transport", lambda row: row.deliveries
        )
        yield self._counter("fx_sent_bytes", "Bytes in which events and answers went to streaming clients.", lambda row: row.sent)
        latency = HistogramMetricFamily(
            "fx_delivery_latency_seconds",
            "Time from the entry of an event into the log until it is handed to a client, by delivery.",
            labels=["transport"],
        )
        for transport in self._hub.statistics.latency:
            latency.add_metric([transport], *_buckets([row.latency[transport] for row in self._rows]))
        yield latency
        age = HistogramMetricFamily(
            "fx_price_age_seconds", "Time from the market until it is sent, of the newest price of each batch."
        )
        age.add_metric([], *_buckets([row.price_age for row in self._rows]))
        yield age
        yield self._counter(
            "fx_conflated_prices", "Prices that newer ones replaced before a client took them.", lambda row: row.conflated
        )

    def _log(self) -> Iterator[Metric]:
        yield self._by_worker(CounterMetricFamily, "fx_log_events_read", "Events read from the log.", lambda row: row.read)
        batches = HistogramMetricFamily("fx_log_batch_events", "Events read at once.")
        batches.add_metric([], *_buckets([row.batches for row in self._rows]))
        yield batches
        yield self._by_worker(
            GaugeMetricFamily, "fx_log_lag_seconds", "Age of the newest event when it was read.", lambda row: row.log_lag
        )
        yield self._by_worker(
            GaugeMetricFamily,
            "fx_log_behind_events",
            "Events in the log and not read yet when they were last compared.",
            lambda row: row.log_behind,
        )
        yield self._by_worker(CounterMetricFamily, "fx_log_gaps", "Holes met in the log.", lambda row: row.gaps)
        yield self._counters("fx_resumes", "Cursors that streaming clients came back with.", "outcome", lambda row: row.resumes)

    def _processes(self) -> Iterator[Metric]:
        yield self._by_worker(CounterMetricFamily, "fx_process_cpu_seconds", "Processor time used.", lambda row: row.cpu)
        yield self._by_worker(
            GaugeMetricFamily, "fx_process_resident_memory_bytes", "Memory that is resident.", lambda row: row.memory
        )
        yield self._by_worker(
            GaugeMetricFamily, "fx_event_loop_lag_seconds", "How late the event loop was last.", lambda row: row.loop_lag
        )

    def _feed(self) -> Iterator[Metric]:
        active = GaugeMetricFamily("fx_feed_source_active", "1 for the source that prices come from.", labels=["source"])
        dropped = CounterMetricFamily(
            "fx_feed_dropped_quotes", "Quotes that the feed did not pass on, since it began.", labels=["reason"]
        )
        if self._hub.signs.feed is not None:
            for source, state in self._hub.signs.feed.sources.items():
                active.add_metric([source], state == "active")
            for reason, count in self._hub.signs.feed.dropped.items():
                dropped.add_metric([reason], count)
        yield active
        yield dropped

    def _recorder(self) -> Iterator[Metric]:
        events = GaugeMetricFamily("fx_recorder_behind_events", "Events that the recorder has not recorded yet.", labels=[])
        seconds = GaugeMetricFamily("fx_recorder_behind_seconds", "Time of the log that is not recorded yet.", labels=[])
        lost = CounterMetricFamily("fx_recorder_lost_events", "Events gone from the log before they were recorded.", labels=[])
        if (lag := recorder_lag(self._hub)) is not None:
            events.add_metric([], lag.behind_events)
            seconds.add_metric([], lag.behind_ms / 1000)
            lost.add_metric([], lag.lost_events)
        yield from (events, seconds, lost)

    def _workers(self) -> Iterator[tuple[str, Statistics]]:
        """The rows with the numbers that the workers go by."""
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
    """Histograms of the same bounds, added up as Prometheus has them: each bucket with all below it; and their sum."""
    together = list(histograms)
    counts = map(sum, zip(*(histogram.counts for histogram in together), strict=True))
    bounds = [*(str(float(bound)) for bound in together[0].bounds), "+Inf"]
    return list(zip(bounds, accumulate(counts), strict=True)), sum(histogram.sum for histogram in together)
