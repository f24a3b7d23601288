"""Bars as database rows and back, and the rule by which one bar replaces another."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache, lru_cache, partial
from typing import Any

from sqlalchemy import ColumnElement, and_, not_, or_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.bars.making import GIVEN, IMPORTED, PARTIAL, Made, standing
from app.market.pair import CurrencyPair
from app.market.source import Sources
from app.storage.database import bulk
from app.storage.database.tables import CandleRow, table_of
from app.storage.database.upsert import Columns, Replaces, upsert

_CANDLES = table_of(CandleRow)
_COLUMNS = len(_CANDLES.c)


def row_of(candle: Candle) -> dict[str, object]:
    """Return the row of a bar."""
    bid, mid, ask = candle.bid, candle.mid, candle.ask
    return {
        "pair": candle.pair.name,
        "granularity": candle.granularity.value,
        "time": candle.time,
        "bid_open": bid.open,
        "bid_high": bid.high,
        "bid_low": bid.low,
        "bid_close": bid.close,
        "mid_open": mid.open,
        "mid_high": mid.high,
        "mid_low": mid.low,
        "mid_close": mid.close,
        "ask_open": ask.open,
        "ask_high": ask.high,
        "ask_low": ask.low,
        "ask_close": ask.close,
        "volume": candle.volume,
        "complete": candle.complete,
        "source": candle.source,
        "made_of": candle.made.of,
        "parts": candle.made.parts,
        "covered": _seconds_covered(candle),
        "whole": candle.made.whole,
        "standing": standing(candle.made, complete=candle.complete),
        "first_time": candle.made.first_time,
        "last_time": candle.made.last_time,
        "since": candle.made.since,
    }


def candles_of(rows: Iterable[Sequence[Any]]) -> list[Candle]:
    """Return the bars of rows whose first columns are those of ``candles``."""
    pair_of, granularity_of = cache(CurrencyPair.parse), cache(Granularity)
    candles = []
    for pair, granularity, time, *prices, volume, complete, source, of, parts, covered, whole, _, first, last, since in (
        row[:_COLUMNS] for row in rows
    ):
        bid, mid, ask = Ohlc(*prices[:4]), Ohlc(*prices[4:8]), Ohlc(*prices[8:])
        made = GIVEN if of == IMPORTED and whole else Made(of, parts, timedelta(seconds=covered), whole, first, last, since)
        candles.append(Candle(pair_of(pair), granularity_of(granularity), time, bid, mid, ask, volume, complete, source, made))
    return candles


def rows_of(candles: Iterable[Candle], sources: Sources) -> list[dict[str, object]]:
    """Return the rows of bars, one per key, in the order of their keys.

    Of several bars with one key, the row is that of the bar that would remain if they were written one after the other. The order
    matters: two processes that write the same rows in different orders would deadlock on PostgreSQL.
    """
    standing: dict[tuple[str, str, datetime], Candle] = {}
    for candle in candles:
        key = (candle.pair.name, candle.granularity.value, candle.time)
        stored = standing.get(key)
        if stored is None or _rank(candle, sources) >= _rank(stored, sources):
            standing[key] = candle
    return [row_of(standing[key]) for key in sorted(standing)]


async def write_bars(connection: AsyncConnection, rows: Sequence[Mapping[str, object]], sources: Sources) -> int:
    """Write the rows made by ``rows_of``, and return how many bars were added or changed."""
    return await upsert(connection, _CANDLES, rows, partial(_replaces, sources))


async def write_columns(connection: AsyncConnection, columns: bulk.Columns, count: int, sources: Sources) -> int:
    """Write ``count`` bars given by columns, and return how many were added or changed."""
    return await bulk.bulk_upsert(connection, _CANDLES, columns, count, _rule(sources))


@lru_cache(maxsize=8)
def _rule(sources: Sources) -> Replaces:
    """Return the rule for these sources, always the same object, so that compiled statements can be cached."""
    return partial(_replaces, sources)


def is_real(source: ColumnElement[str], sources: Sources) -> ColumnElement[bool]:
    """True for a source whose prices were those of a market."""
    return and_(*(source != name for name in sorted(sources.invented)))


def _rank(candle: Candle, sources: Sources) -> tuple[bool, int, int]:
    """Return the rank of a bar; a bar is replaced by any of the same or a higher rank."""
    stands = standing(candle.made, complete=candle.complete)
    return not sources.is_invented(candle.source), stands, _seconds_covered(candle) if stands == PARTIAL else 0


def _seconds_covered(candle: Candle) -> int:
    return 0 if candle.made.whole else int(candle.made.covered.total_seconds())


def _replaces(sources: Sources, stored: Columns, new: Columns) -> ColumnElement[bool]:
    """The rule of ``_rank`` in SQL."""
    stored_real, new_real = is_real(stored.source, sources), is_real(new.source, sources)
    as_good = and_(new.standing == stored.standing, or_(new.standing != PARTIAL, new.covered >= stored.covered))
    not_worse = or_(new.standing > stored.standing, as_good)
    return or_(and_(new_real, not_(stored_real)), and_(new_real == stored_real, not_worse))
