"""The daily job: how every pair moved with every other, which of them fit together, and what has changed since the day before."""

import asyncio
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

from app.alerts.alert import Alert
from app.alerts.correlation import (
    CorrelationRule,
    CorrelationState,
    correlation_rule_of,
    correlation_rules,
    key_of_two,
)
from app.errors import ConfigurationError
from app.market.bars.candle import Granularity
from app.market.hours.calendar import is_stale
from app.market.measures.correlation import Matrix, matrix, rank
from app.market.pair import CurrencyPair
from app.realtime.contract.event import Draft, EventType
from app.realtime.contract.figures import BestPairs, CorrelationMatrix
from app.realtime.contract.publication import publication
from app.schedule import DAILY_CORRELATION
from app.sources import SOURCES
from app.storage.alerts.states import AlertStates
from app.storage.market.candles import Candles
from app.storage.market.correlations import Correlations, StoredBestPair, StoredCorrelation
from jobs.running.context import JobContext
from jobs.running.once import run_once
from jobs.running.report import JobReport, recorded

CORRELATION_WINDOW = 100
"""How many of the last H1 bars of each pair are compared: four days of open market and a little."""

NEWS_FOR = 26 * 3600.0
"""Seconds of open market after which the end of the newest bar is no news: no alerts come of what lies further back."""

_STATES = "correlation:"

_logger = logging.getLogger(__name__)


async def run_daily_correlation(context: JobContext, now: datetime) -> JobReport:
    """Compute the matrix of the bars that ended by ``now``, and report how many correlations of two pairs are known.

    The matrix is of the time at which its newest bar ended, so doing the same again changes and publishes nothing new but the
    notice that there is data. Raises DatabaseUnavailable, LogUnavailable and, for thresholds that cannot be read,
    ConfigurationError.
    """
    return await recorded(context.database, DAILY_CORRELATION, now, lambda: _run(context, now))


async def _run(context: JobContext, now: datetime) -> JobReport:
    rules = _rules(context)
    found = await Candles(context.database, SOURCES).closes(
        list(context.pairs), Granularity.H1, CORRELATION_WINDOW, until=now, real_only=context.real_only
    )
    if len(found) < 2:
        _logger.info("there are no bars of two pairs yet")
        return JobReport(0)
    newest = max(found.values(), key=lambda series: series.end)
    end, simulated = newest.end, any(series.simulated for series in found.values())
    cells = await asyncio.to_thread(matrix, {pair: series.closes for pair, series in found.items()})
    ranked = rank(cells)

    correlations = Correlations(context.database)
    before = {
        (cell.pair1, cell.pair2): cell.correlation for cell in await correlations.before(end) if cell.correlation is not None
    }
    stored = [
        StoredCorrelation(
            first.name,
            second.name,
            end,
            Granularity.H1.value,
            CORRELATION_WINDOW,
            cells[first][second].value,
            cells[first][second].observations,
        )
        for first, second in combinations(cells, 2)
    ]
    best = [
        StoredBestPair(
            entry.first.name,
            entry.second.name,
            end,
            entry.category.value,
            entry.correlation,
            entry.observations,
            entry.reason,
            entry.rank,
        )
        for entry in ranked
    ]
    await correlations.write(stored, best)
    await context.cache.put_correlations(
        CorrelationMatrix.of(
            cells, computed=now, end=end, granularity=Granularity.H1, window=CORRELATION_WINDOW, simulated=simulated
        ),
        BestPairs.of(ranked, now, simulated),
    )
    if not is_stale(end, SOURCES.of(newest.source), now, NEWS_FOR):
        await _alert(context, cells, before, rules, end, now)
    known = sum(cell.correlation is not None for cell in stored)
    body = {"data_type": "correlations", "count": known, "timestamp": now}
    await context.publisher.publish([publication(EventType.DATA_READY, body, context.pairs)])
    return JobReport(known)


async def _alert(
    context: JobContext,
    cells: Matrix,
    before: Mapping[tuple[str, str], float],
    rules: Mapping[str, CorrelationRule],
    end: datetime,
    now: datetime,
) -> None:
    """Tell of the correlations that reached a threshold or changed since the matrix before, and remember where all stand.

    All is told in one step of the log under a name of its own: where a run dies before it has remembered, the next one tells
    the same under the same name, which the log knows.
    """
    states = AlertStates(context.database)
    stored = await states.load(_STATES)
    remembered: dict[str, bytes] = {}
    drafts: list[Draft] = []
    for first, second in combinations(cells, 2):
        rule = correlation_rule_of(rules, first, second)
        if rule is None:
            continue
        key = f"{_STATES}{key_of_two(first, second)}"
        last = before.get((first.name, second.name), before.get((second.name, first.name)))
        state = _state_before(rule, first, second, stored.get(key), last, end)
        alert, state = rule.judge(first, second, cells[first][second].value, state, end)
        remembered[key] = state.to_json()
        if alert is not None:
            drafts.append(_draft(context, alert, now))
    if drafts:
        milliseconds = (end - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        await context.log.append(f"daily:{milliseconds}", 1, drafts)
    await states.save({key: state for key, state in remembered.items() if stored.get(key) != state})


def _state_before(
    rule: CorrelationRule, first: CurrencyPair, second: CurrencyPair, stored: bytes | None, last: float | None, end: datetime
) -> CorrelationState:
    """What is known of two pairs from the matrix before, also where this one was judged already or nothing was remembered."""
    if stored is None:
        return rule.judge(first, second, last, CorrelationState(), end)[1]
    state = CorrelationState.from_json(stored)
    return state if last is None or state.last is None else replace(state, last=last)


def _draft(context: JobContext, alert: Alert, now: datetime) -> Draft:
    first, second = alert.pairs
    body = {
        "pair1": first,
        "pair2": second,
        "correlation": float(alert.value),
        "threshold": float(alert.threshold),
        "severity": alert.severity.value,
        "message": alert.message,
        "timestamp": now,
    }
    return publication(EventType.CORRELATION_ALERT, body, context.pairs)


def _rules(context: JobContext) -> dict[str, CorrelationRule]:
    try:
        return correlation_rules(context.settings.correlation_thresholds)
    except ValueError as error:
        raise ConfigurationError(f"CORRELATION_THRESHOLDS: {error}") from None


if __name__ == "__main__":
    sys.exit(run_once(DAILY_CORRELATION, run_daily_correlation))
