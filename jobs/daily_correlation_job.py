"""The daily job: computes the correlation matrix, ranks pairs of pairs, and raises alerts of changes since the day before."""

import asyncio
import logging
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from itertools import combinations

from app.alerts.correlation import (
    CorrelationRule,
    CorrelationState,
    correlation_rule_of,
    correlation_rules,
    key_of_two,
)
from app.market.bars.candle import Granularity
from app.market.hours.calendar import is_stale
from app.market.measures.correlation import Matrix, matrix, rank
from app.market.pair import CurrencyPair
from app.realtime.contract.alert import draft_of
from app.realtime.contract.event import Draft, data_ready, milliseconds
from app.realtime.contract.figures import BestPairs, CorrelationMatrix
from app.schedule import DAILY_CORRELATION
from app.sources import SOURCES
from app.storage.alerts.states import AlertStates
from app.storage.market.candles import Candles
from app.storage.market.correlations import Correlations, StoredBestPair, StoredCorrelation
from app.storage.market.shared_closes import shared_closes
from jobs.running.context import JobContext, read_rules
from jobs.running.once import run_once
from jobs.running.report import JobReport, recorded

CORRELATION_WINDOW = 100
"""The number of H1 bars that are compared, the last that both pairs have: a little over four days of open market."""

NEWS_FOR = 26 * 3600.0
"""Seconds of open market after which the newest bar is old: no alert is raised of a matrix that ended before that."""

_STATES = "correlation:"

_logger = logging.getLogger(__name__)


async def run_daily_correlation(context: JobContext, now: datetime) -> JobReport:
    """Compute the matrix of the bars that ended by ``now``; report the number of known correlations.

    The matrix is stored under the end of its newest bar, so a second run changes nothing, and publishes nothing but
    ``data_ready``. Raises DatabaseUnavailable, LogUnavailable and, for invalid thresholds, ConfigurationError.
    """
    return await recorded(context.database, DAILY_CORRELATION, context.on_the_wall(now), lambda: _run(context, now))


async def _run(context: JobContext, now: datetime) -> JobReport:
    rules = read_rules("CORRELATION_THRESHOLDS", correlation_rules, context.settings.correlation_thresholds)
    candles = Candles(context.database, SOURCES)
    found = await shared_closes(
        candles, list(context.pairs), Granularity.H1, CORRELATION_WINDOW, until=now, real_only=context.real_only
    )
    if len(found) < 2:
        _logger.info("fewer than two pairs have bars yet")
        return JobReport(0)
    newest = max(found.values(), key=lambda series: series.end)
    end, simulated = newest.end, any(series.simulated for series in found.values())
    closes = {pair: series.closes for pair, series in found.items()}
    cells = await asyncio.to_thread(matrix, closes, window=CORRELATION_WINDOW)
    ranked = rank(cells)
    computed = context.on_the_wall(now)

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
            computed,
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
            computed,
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
    await context.publisher.publish([data_ready("correlations", known, now)])
    return JobReport(known)


async def _alert(
    context: JobContext,
    cells: Matrix,
    before: Mapping[tuple[str, str], float],
    rules: Mapping[str, CorrelationRule],
    end: datetime,
    now: datetime,
) -> None:
    """Publish alerts of correlations that reached a threshold or changed since the previous matrix; save all states.

    The alerts are one batch of the log. If a run dies before it has saved, the next one publishes the same batch under the
    same name, and the log recognises it.
    """
    states = AlertStates(context.database)
    stored = await states.load(_STATES)
    saved: dict[str, bytes] = {}
    drafts: list[Draft] = []
    for first, second in combinations(cells, 2):
        rule = correlation_rule_of(rules, first, second)
        if rule is None:
            continue
        key = f"{_STATES}{key_of_two(first, second)}"
        last = before.get((first.name, second.name), before.get((second.name, first.name)))
        state = _state_before(rule, first, second, stored.get(key), last, end)
        alert, state = rule.judge(first, second, cells[first][second].value, state, end)
        saved[key] = state.to_json()
        if alert is not None:
            drafts.append(draft_of(alert, now))
    if drafts:
        await context.log.append(f"daily:{milliseconds(end)}", 1, drafts)
    await states.save({key: state for key, state in saved.items() if stored.get(key) != state})


def _state_before(
    rule: CorrelationRule, first: CurrencyPair, second: CurrencyPair, stored: bytes | None, last: float | None, end: datetime
) -> CorrelationState:
    """Return the state of two pairs as of the previous matrix, also where none is saved or this matrix was judged before."""
    if stored is None:
        return rule.judge(first, second, last, CorrelationState(), end)[1]
    state = CorrelationState.from_json(stored)
    return state if last is None or state.last is None else replace(state, last=last)


if __name__ == "__main__":
    sys.exit(run_once(DAILY_CORRELATION, run_daily_correlation))
