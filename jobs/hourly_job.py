"""The hourly job: fetches the bars of the hour, measures every pair, and raises alerts of unusual volatility."""

import asyncio
import logging
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.alerts.crossing import CrossingState
from app.alerts.thresholds import NONE
from app.alerts.volatility import VolatilityRule, volatility_rule_of, volatility_rules
from app.errors import DatabaseUnavailable, GatewayError, NotOffered, SourceRefused
from app.market.bars.candle import Candle, Granularity
from app.market.bars.history import CandleSource
from app.market.clock import rfc3339
from app.market.hours.calendar import is_quoting, is_stale
from app.market.measures.measures import MEASURE_BARS, Measures, measure
from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind
from app.realtime.contract.alert import draft_of
from app.realtime.contract.event import cursor_at, data_ready, milliseconds, price_update
from app.realtime.contract.fields import DataType
from app.realtime.contract.figures import PairMetrics
from app.schedule import HOURLY
from app.sources import SOURCES
from app.storage.alerts.states import AlertStates
from app.storage.market.candles import Candles
from app.storage.market.metrics import Metrics, StoredMetrics
from jobs.history.aggregation import aggregate_stored
from jobs.running.context import JobContext, read_rules
from jobs.running.once import run_once
from jobs.running.report import JobReport, recorded

NEWS_FOR = 2 * 3600.0
"""Seconds of open market after which a bar is old: no alert is raised of one that ended before that."""

PATIENCE = 30.0
"""Seconds that the job waits for missing bars, beyond the delay in the settings."""

_HOUR = timedelta(hours=1)
_OVERLAP = timedelta(days=1)
"""Fetched again each time: this fills the holes that an outage left in the recorded bars, and corrects the bars around them."""

_HISTORY = 480
"""The number of volatilities of which a pair's median is taken: four weeks of hours."""

_POLL = 1.0
_PAGE = 500
_STATES = "volatility:"

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Progress:
    """The state of a run: bars fetched, and problems by pair."""

    problems: list[str] = field(default_factory=list)
    fetched: int = 0

    def fail(self, pair: CurrencyPair, doing: str, error: Exception) -> None:
        """Log and keep the error of one pair."""
        if isinstance(error, (GatewayError, ValueError)):
            _logger.warning("%s: %s failed: %s", pair, doing, error)
        else:
            _logger.error("%s: %s failed unexpectedly", pair, doing, exc_info=error)
        self.problems.append(f"{pair}: {error if isinstance(error, GatewayError) else f'{doing}: {type(error).__name__}'}")


async def run_hourly(context: JobContext, now: datetime, patience: float = PATIENCE) -> JobReport:
    """Do the work of the last full hour before ``now``; report the number of bars and measures stored.

    A pair that fails does not stop the others. A second run for the same hour changes nothing, and publishes nothing but
    ``data_ready``. Raises DatabaseUnavailable, LogUnavailable and, for invalid thresholds, ConfigurationError.
    """
    return await recorded(context.database, HOURLY, context.on_the_wall(now), lambda: _Run(context, now, patience).run())


class _Run:
    """One run of the job."""

    def __init__(self, context: JobContext, now: datetime, patience: float) -> None:
        self._context = context
        self._now = now
        self._patience = patience
        self._candles = Candles(context.database, SOURCES)
        self._progress = _Progress()

    async def run(self) -> JobReport:
        context = self._context
        rules = read_rules("VOLATILITY_THRESHOLDS", volatility_rules, context.settings.volatility_thresholds)
        if context.source is not None:
            await self._fetch(context.source)
        if not context.settings.keeps_recorded_times:  # where the schedule has waited for them
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
        await self._announce("candles", self._progress.fetched)
        await self._announce("metrics", len(figures))
        return JobReport(self._progress.fetched + len(figures), tuple(self._progress.problems))

    # ------------------------------------------------------------ bars

    async def _fetch(self, source: CandleSource) -> None:
        """Store the source's new bars, and the longer bars made of them.

        A pair that the source does not offer is no problem: its bars are the recorded ones.
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
            failure = error  # the pages before it are used all the same
        if changed:
            self._progress.fetched += changed
            await aggregate_stored(self._candles, pair, granularity, start, end, self._now)
        if failure is not None:
            raise failure

    async def _await_bars(self) -> None:
        """Wait for the bars of the hour that has just ended: the recorder closes them some seconds later."""
        hour = Granularity.H1.start(self._now)
        delay = timedelta(seconds=self._context.settings.hourly_job_delay + self._patience)
        clock = asyncio.get_running_loop().time
        deadline = clock() + (hour + delay - self._now).total_seconds()
        while clock() < deadline and (late := await self._late(hour)):
            if clock() + _POLL >= deadline:
                _logger.warning("the bars of the hour from %s are still missing: %s", rfc3339(hour - _HOUR), ", ".join(late))
                return
            await asyncio.sleep(_POLL)

    async def _late(self, hour: datetime) -> list[str]:
        """The pairs with a bar of the hour before last and none of the last, although their market was open."""
        newest = await self._candles.newest(
            list(self._context.pairs), Granularity.H1, 1, until=hour, real_only=self._context.real_only
        )
        # Half past, since a source may open a little later and close a little earlier than the market.
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
            except ValueError as error:  # a price of zero, which has no logarithm
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
                self._context.on_the_wall(self._now),
            )
            for pair, of_pair in measures.items()
        ]
        await Metrics(self._context.database).write(rows)

    # ------------------------------------------------------------ alerts

    async def _alert(self, measures: Mapping[CurrencyPair, Measures], rules: Mapping[str, VolatilityRule]) -> None:
        """Publish an alert for each pair whose volatility reached a threshold, and save the states of all pairs.

        If a run dies between publishing and saving, the next one publishes the same batch under the same name, and the log
        recognises it.
        """
        states = AlertStates(self._context.database)
        stored = await states.load(_STATES)
        saved: dict[str, bytes] = {}
        for pair, of_pair in measures.items():
            rule = volatility_rule_of(rules, pair)
            if rule is None:
                continue
            key = f"{_STATES}{pair}"
            state = CrossingState.from_json(stored.get(key, b""))
            history = await self._history(of_pair) if rule.multiples != NONE else []
            alert, state = rule.judge(pair, of_pair.volatility_50, history, state, of_pair.end)
            saved[key] = state.to_json()
            if alert is not None:
                batch = f"hourly:{milliseconds(of_pair.end)}:{pair}"
                await self._context.log.append(batch, 1, [draft_of(alert, self._now)])
                await states.save({key: saved[key]})
        await states.save({key: state for key, state in saved.items() if stored.get(key) != state})

    async def _history(self, measures: Measures) -> list[float]:
        """Earlier volatilities of the pair, of market prices or of simulated ones as these are."""
        rows = await Metrics(self._context.database).history(
            measures.pair.name, measures.granularity.value, measures.end, _HISTORY
        )
        return [row.volatility for row in rows if row.volatility is not None and row.simulated == measures.simulated]

    # ------------------------------------------------------------ news

    async def _publish_prices(self, bars: Sequence[Candle]) -> None:
        """Publish a price for the pairs that no feed quotes: the close of their newest bar.

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
        """The pairs with a price in the log since shortly before ``end``: about as long as prices live in Redis."""
        log = self._context.log
        reader = log.reader(cursor_at(end - timedelta(seconds=log.price_ttl)))
        live: set[str] = set()
        before = ""
        while not pairs <= live and reader.cursor != before:  # a page may hold no event
            before = reader.cursor
            live.update(event.pairs[0] for event in await reader.read(_PAGE) if event.is_price)
        return live

    async def _announce(self, data_type: DataType, count: int) -> None:
        if count:
            await self._context.publisher.publish([data_ready(data_type, count, self._now)])

    def _is_past(self, bar: Candle) -> bool:
        return is_stale(bar.end, SOURCES.of(bar.source), self._now, NEWS_FOR)


if __name__ == "__main__":
    sys.exit(run_once(HOURLY, run_hourly))
