"""The hourly job: fetches the bars of the hour, measures every pair and tells of those that move unusually much."""

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import orjson

from app.alerts.alert import Alert
from app.alerts.crossing import CrossingState
from app.alerts.thresholds import NONE
from app.alerts.volatility import VolatilityRule, volatility_rule_of, volatility_rules
from app.errors import ConfigurationError, DatabaseUnavailable, GatewayError, NotOffered, SourceRefused
from app.market.bars.candle import Candle, Granularity
from app.market.bars.history import CandleSource
from app.market.clock import rfc3339
from app.market.hours.calendar import is_quoting, is_stale
from app.market.measures.measures import MEASURE_BARS, Measures, measure
from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind
from app.realtime.contract.event import EventType, price_update
from app.realtime.contract.figures import PairMetrics
from app.realtime.contract.publication import publication
from app.schedule import HOURLY
from app.sources import SOURCES
from app.storage.alerts.states import AlertStates
from app.storage.market.candles import Candles
from app.storage.market.metrics import Metrics, StoredMetrics
from jobs.history.aggregation import aggregate_stored
from jobs.running.context import JobContext
from jobs.running.once import run_once
from jobs.running.report import JobReport, recorded

NEWS_FOR = 2 * 3600.0
"""Seconds of open market after which the end of a bar is no news: nothing is told of what lies further back."""

PATIENCE = 30.0
"""Seconds that the job waits for bars that are not there yet, beyond the delay in the settings."""

_HOUR = timedelta(hours=1)
_OVERLAP = timedelta(days=1)
"""Fetched again each time: a hole that an outage left in what was recorded is filled, and the bars about it are put right."""

_HISTORY = 480
"""How many volatilities the usual one of a pair is taken of: four weeks of hours."""

_POLL = 1.0
_PAGE = 500
_STATES = "volatility:"

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Progress:
    """What a run has done so far."""

    problems: list[str] = field(default_factory=list)
    fetched: int = 0

    def fail(self, pair: CurrencyPair, doing: str, error: Exception) -> None:
        """Note that something could not be done for one pair."""
        if isinstance(error, (GatewayError, ValueError)):
            _logger.warning("%s: %s failed: %s", pair, doing, error)
        else:
            _logger.error("%s: %s failed unexpectedly", pair, doing, exc_info=error)
        self.problems.append(f"{pair}: {error if isinstance(error, GatewayError) else f'{doing}: {type(error).__name__}'}")


async def run_hourly(context: JobContext, now: datetime, patience: float = PATIENCE) -> JobReport:
    """Do the work of the hour that ended last before ``now``, and report how many bars and measures came of it.

    One pair that cannot be dealt with does not stop the others. Doing the same again changes and publishes nothing new but
    the notice that there is data. Raises DatabaseUnavailable, LogUnavailable and, for thresholds that cannot be read,
    ConfigurationError.
    """
    return await recorded(context.database, HOURLY, now, lambda: _Run(context, now, patience).run())


class _Run:
    """One run of the job."""

    def __init__(self, context: JobContext, now: datetime, patience: float) -> None:
        self._context = context
        self._now = now
        self._patience = patience
        self._candles = Candles(context.database, SOURCES)
        self._progress = _Progress()

    async def run(self) -> JobReport:
        rules = _rules(context := self._context)
        if context.source is not None:
            await self._fetch(context.source)
        await self._await_bars()
        bars = await self._candles.newest(
            list(context.pairs), Granularity.H1, MEASURE_BARS, until=self._now, real_only=context.real_only
        )
        measures = self._measure(bars)
        newest = {pair: of_pair[-1] for pair, of_pair in bars.items() if not self._is_past(of_pair[-1])}
        figures = {pair.name: PairMetrics.of(of_pair, self._now) for pair, of_pair in measures.items()}
        if figures:
            await self._store(measures, figures)
            await context.cache.put_metrics(figures)
        await self._alert({pair: of_pair for pair, of_pair in measures.items() if pair in newest}, rules)
        if context.source is not None:
            await self._publish_prices(list(newest.values()))
        await self._tell("candles", self._progress.fetched)
        await self._tell("metrics", len(figures))
        return JobReport(self._progress.fetched + len(figures), tuple(self._progress.problems))

    # ------------------------------------------------------------ bars

    async def _fetch(self, source: CandleSource) -> None:
        """Store what the source has that is not stored yet, and the larger bars that follow from it.

        A pair that the source has no history of is none the worse for it: its bars are those recorded here.
        """
        granularity = Granularity.H1 if Granularity.H1 in source.granularities else Granularity.D
        if granularity not in source.granularities:
            return
        not_offered: list[str] = []
        for pair in self._context.pairs:
            try:
                await self._fetch_pair(source, pair, granularity)
            except DatabaseUnavailable:
                raise
            except NotOffered:
                not_offered.append(pair.name)
            except SourceRefused as error:
                self._progress.fail(pair, "fetching bars", error)
                return
            except Exception as error:
                self._progress.fail(pair, "fetching bars", error)
        if not_offered:
            _logger.info("%s has no %s bars of %s", source.name, granularity, ", ".join(not_offered))

    async def _fetch_pair(self, source: CandleSource, pair: CurrencyPair, granularity: Granularity) -> None:
        stored = await self._candles.last_time(pair, granularity, real_only=True)
        earliest = self._now - timedelta(days=self._context.settings.backfill_days)
        start = granularity.start(earliest) if stored is None else stored - _OVERLAP
        changed, end = 0, start
        failure: Exception | None = None
        try:
            async with aclosing(source.fetch_candles(pair, granularity, start, self._now)) as pages:
                async for page in pages:
                    changed += await self._candles.write(page)
                    end = page[-1].end if page else end
        except DatabaseUnavailable:
            raise
        except Exception as error:
            failure = error  # what the source gave until then is of use all the same
        if changed:
            self._progress.fetched += changed
            await aggregate_stored(self._candles, pair, granularity, start, end, self._now)
        if failure is not None:
            raise failure

    async def _await_bars(self) -> None:
        """Wait a little for the bars of the hour that has just ended: they close as the market moves on, seconds after it."""
        hour = Granularity.H1.start(self._now)
        delay = timedelta(seconds=self._context.settings.hourly_job_delay + self._patience)
        clock = asyncio.get_running_loop().time
        deadline = clock() + (hour + delay - self._now).total_seconds()
        while clock() < deadline and (late := await self._late(hour)):
            if clock() + _POLL >= deadline:
                _logger.warning("bars of the hour from %s are missing still: %s", rfc3339(hour - _HOUR), ", ".join(late))
                return
            await asyncio.sleep(_POLL)

    async def _late(self, hour: datetime) -> list[str]:
        """The pairs that have a bar of the hour before the last one, and none of the last, in which their market was open."""
        newest = await self._candles.newest(
            list(self._context.pairs), Granularity.H1, 1, until=hour, real_only=self._context.real_only
        )
        # Half past, since a source may open a little after the market and close a little before it.
        open_at = hour - _HOUR / 2
        return [
            pair.name for pair, [bar] in newest.items() if bar.end == hour - _HOUR and is_quoting(SOURCES.of(bar.source), open_at)
        ]

    # ------------------------------------------------------------ measures

    def _measure(self, bars: Mapping[CurrencyPair, Sequence[Candle]]) -> dict[CurrencyPair, Measures]:
        measures = {}
        for pair in self._context.pairs:
            if pair not in bars:
                continue
            try:
                measures[pair] = measure(bars[pair], self._context.settings.annualization, SOURCES)
            except ValueError as error:  # prices that are none
                self._progress.fail(pair, "measuring", error)
        return measures

    async def _store(self, measures: Mapping[CurrencyPair, Measures], figures: Mapping[str, PairMetrics]) -> None:
        rows = [
            StoredMetrics(
                pair.name,
                Granularity.H1.value,
                of_pair.end,
                figures[pair.name].model_dump_json().encode(),
                of_pair.volatility_50,
                of_pair.simulated,
            )
            for pair, of_pair in measures.items()
        ]
        await Metrics(self._context.database).write(rows)

    # ------------------------------------------------------------ alerts

    async def _alert(self, measures: Mapping[CurrencyPair, Measures], rules: Mapping[str, VolatilityRule]) -> None:
        """Tell of the pairs whose volatility reached a threshold, each once, and remember where all of them stand.

        Where a run dies between telling and remembering, the next one tells the same under the same name, which the log knows.
        """
        states = AlertStates(self._context.database)
        stored = await states.load(_STATES)
        remembered: dict[str, bytes] = {}
        for pair, of_pair in measures.items():
            rule = volatility_rule_of(rules, pair)
            if rule is None:
                continue
            key = f"{_STATES}{pair}"
            state = CrossingState.from_json(stored.get(key, b""))
            history = await self._history(of_pair) if rule.multiples != NONE else []
            alert, state = rule.judge(pair, of_pair.volatility_50, history, state, of_pair.end)
            remembered[key] = state.to_json()
            if alert is not None:
                await self._publish_alert(alert, of_pair)
                await states.save({key: remembered[key]})
        await states.save({key: state for key, state in remembered.items() if stored.get(key) != state})

    async def _history(self, measures: Measures) -> list[float]:
        """Earlier volatilities of the pair, of bars as real or as invented as these."""
        rows = await Metrics(self._context.database).history(
            measures.pair.name, measures.granularity.value, measures.end, _HISTORY
        )
        return [row.volatility for row in rows if row.volatility is not None and row.simulated == measures.simulated]

    async def _publish_alert(self, alert: Alert, measures: Measures) -> None:
        body = {
            "instrument": measures.pair.name,
            "volatility": float(alert.value),
            "threshold": float(alert.threshold),
            "severity": alert.severity.value,
            "message": alert.message,
            "timestamp": self._now,
        }
        draft = publication(EventType.VOLATILITY_ALERT, body, self._context.pairs)
        await self._context.log.append(f"hourly:{_milliseconds(measures.end)}:{measures.pair}", 1, [draft])

    # ------------------------------------------------------------ news

    async def _publish_prices(self, bars: Sequence[Candle]) -> None:
        """Give the pairs a price that no feed gives one: the last of their newest bar.

        It is indicative: the source dealt at it at the end of the bar, not now.
        """
        if not bars:
            return
        live = await self._live({bar.pair.name for bar in bars}, min(bar.end for bar in bars))
        quotes = [
            Quote(bar.pair, bar.bid.close, bar.ask.close, bar.end, bar.source, QuoteKind.INDICATIVE)
            for bar in bars
            if bar.pair.name not in live
        ]
        await self._context.publisher.publish([price_update(quote, self._now) for quote in quotes])

    async def _live(self, pairs: set[str], end: datetime) -> set[str]:
        """Those of the pairs that the log has a price of since shortly before ``end``, about as long as prices live in Redis."""
        log = self._context.log
        reader = log.reader(f"{max(_milliseconds(end) - 1000 * log.price_ttl, 0)}-0")
        live: set[str] = set()
        while not pairs <= live and (events := await reader.read(_PAGE)):
            live.update(orjson.loads(event.bare)["instrument"] for event in events if event.is_price)
        return live

    async def _tell(self, data_type: str, count: int) -> None:
        if count:
            body = {"data_type": data_type, "count": count, "timestamp": self._now}
            await self._context.publisher.publish([publication(EventType.DATA_READY, body, self._context.pairs)])

    def _is_past(self, bar: Candle) -> bool:
        return is_stale(bar.end, SOURCES.of(bar.source), self._now, NEWS_FOR)


def _rules(context: JobContext) -> dict[str, VolatilityRule]:
    try:
        return volatility_rules(context.settings.volatility_thresholds)
    except ValueError as error:
        raise ConfigurationError(f"VOLATILITY_THRESHOLDS: {error}") from None


def _milliseconds(time: datetime) -> int:
    return (time - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


if __name__ == "__main__":
    sys.exit(run_once(HOURLY, run_hourly))
