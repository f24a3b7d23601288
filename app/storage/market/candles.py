"""Bars, kept for good."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

import numpy as np
from sqlalchemy import Executable, Row, Select, Text, desc, func, select, type_coerce, union_all

from app.market.bars.candle import Candle, Granularity
from app.market.bars.mid_bars import MidBars
from app.market.bars.trading_day import TradingDay
from app.market.blocks.block import BarBlock
from app.market.pair import CurrencyPair
from app.market.source import Sources
from app.storage.database.database import Database
from app.storage.database.limit import positive
from app.storage.database.tables import CandleRow, table_of
from app.storage.market.bar_blocks import columns_of
from app.storage.market.candle_rows import candles_of, is_real, rows_of, write_bars, write_columns

_CANDLES = table_of(CandleRow)
_CHUNK = 2000
_BLOCK = 10_000  # bars per transaction, a tenth of a second when the database is idle
_LONG_WRITE = 120.0
_AT_A_TIME = 500  # rows read before other tasks get a turn
_PAIRS_A_QUERY = 100  # SQLite allows at most 500 queries in a union


@dataclass(frozen=True, slots=True)
class CloseSeries:
    """The mid closes of bars by their starts, newest first, with the end and the source of the newest bar.

    The bars are all real or, when ``simulated``, all invented.
    """

    closes: dict[datetime, float]
    end: datetime
    source: str
    simulated: bool


class Candles:
    """The bars in the database, one per pair, length and start."""

    def __init__(self, database: Database, sources: Sources) -> None:
        """``sources`` tells which sources are invented."""
        self._database = database
        self.sources = sources

    async def write(self, candles: Sequence[Candle]) -> int:
        """Write bars, in any order, and return how many were added or changed.

        A real bar replaces an invented one, never the reverse. Of two bars that are both real or both invented, the better one is
        kept, as ``standing`` in ``app/market/bars/making.py`` has it; of equals the later write wins. Writing the same bars again
        changes nothing. Many bars are written in several transactions, so that other writers get their turn. Raises
        DatabaseUnavailable; a caller that does not know how far the write got can repeat it.
        """
        changed = 0
        for first in range(0, len(candles), _CHUNK):
            rows = rows_of(candles[first : first + _CHUNK], self.sources)
            async with self._database.begin() as connection:
                changed += await write_bars(connection, rows, self.sources)
        return changed

    async def write_block(self, block: BarBlock) -> int:
        """Write a block of bars like ``write``, but ten times as fast, and return how many were added or changed.

        Waits up to two minutes for a busy database. Raises DatabaseUnavailable, after which the block can be written again.
        """
        changed = 0
        for part in block.parts(_BLOCK):
            columns = await asyncio.to_thread(columns_of, part)
            async with self._database.begin(_LONG_WRITE) as connection:
                changed += await write_columns(connection, columns, len(part), self.sources)
        return changed

    async def count(self, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime) -> int:
        """Return the number of bars that start in ``[start, end)``, unfinished ones included. Raises DatabaseUnavailable."""
        query = select(func.count()).where(_CANDLES.c.pair == pair.name, _CANDLES.c.granularity == granularity.value)
        async with self._database.read() as connection:
            return await connection.scalar(query.where(_CANDLES.c.time >= start, _CANDLES.c.time < end)) or 0

    async def page(
        self, pair: CurrencyPair, granularity: Granularity, *, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Candle]:
        """Return bars that start in ``[start, end)``, unfinished ones included, oldest first.

        With a start, the first ``limit`` bars from there; without one, the last ``limit`` before the end.
        Raises DatabaseUnavailable.
        """
        query = select(_CANDLES).where(_CANDLES.c.pair == pair.name, _CANDLES.c.granularity == granularity.value)
        if start is not None:
            query = query.where(_CANDLES.c.time >= start)
        if end is not None:
            query = query.where(_CANDLES.c.time < end)
        query = query.order_by(_CANDLES.c.time if start is not None else desc(_CANDLES.c.time)).limit(positive(limit))
        candles = await self._candles(query)
        return candles if start is not None else candles[::-1]

    async def newest(
        self,
        pairs: Sequence[CurrencyPair],
        granularity: Granularity,
        count: int,
        *,
        until: datetime | None = None,
        real_only: bool = False,
    ) -> dict[CurrencyPair, list[Candle]]:
        """Return up to ``count`` newest complete bars of each pair, oldest first; a pair without any is absent.

        With ``until``, only bars that had ended by then; ``real_only`` leaves out those of invented sources. Raises
        DatabaseUnavailable.
        """
        positive(count)
        wanted = list(dict.fromkeys(pairs))
        found: list[Candle] = []
        for first in range(0, len(wanted), _PAIRS_A_QUERY):
            each = [
                self._complete(pair, granularity, until, real_only)
                .order_by(desc(_CANDLES.c.time))
                .limit(count)
                .subquery()
                .select()
                for pair in wanted[first : first + _PAIRS_A_QUERY]
            ]
            found += await self._candles(union_all(*each))
        newest: dict[CurrencyPair, list[Candle]] = {}
        for candle in sorted(found, key=lambda candle: candle.time):
            newest.setdefault(candle.pair, []).append(candle)
        return newest

    async def closes(
        self,
        pairs: Sequence[CurrencyPair],
        granularity: Granularity,
        count: int,
        *,
        until: datetime | None = None,
        real_only: bool = False,
    ) -> dict[CurrencyPair, CloseSeries]:
        """Return what correlations need of the bars that ``newest`` returns, ten times faster; a pair without any is absent.

        The bars of a pair are all real or all invented, as its newest is. Raises DatabaseUnavailable.
        """
        positive(count)
        # The mid is read as it is stored, so on SQLite it becomes a float without a Decimal in between.
        columns = (_CANDLES.c.time, type_coerce(_CANDLES.c.mid_close, Text), _CANDLES.c.source)
        found: dict[CurrencyPair, CloseSeries] = {}
        for pair in dict.fromkeys(pairs):
            query = self._complete(pair, granularity, until, real_only).with_only_columns(*columns)
            rows: list[Row[Any]] = []
            async with self._database.read() as connection:
                result = await connection.execute(query.order_by(desc(_CANDLES.c.time)).limit(count))
                while part := result.fetchmany(_AT_A_TIME):
                    rows += part
                    await asyncio.sleep(0)  # gives other tasks of the event loop a turn
            if rows:
                found[pair] = self._series(granularity, rows)
        return found

    async def mids(
        self, pair: CurrencyPair, granularity: Granularity, count: int, *, until: datetime | None = None, real_only: bool = False
    ) -> MidBars | None:
        """Return the mids of the bars that ``newest`` returns, many times faster; None without any.

        The bars are all real or all invented, as the newest is. Raises DatabaseUnavailable.
        """
        # Prices are read as they are stored, so on SQLite they become floats without a Decimal in between.
        prices = (type_coerce(_CANDLES.c[f"mid_{name}"], Text) for name in ("open", "high", "low", "close"))
        query = self._complete(pair, granularity, until, real_only).with_only_columns(_CANDLES.c.time, _CANDLES.c.source, *prices)
        rows: list[Row[Any]] = []
        async with self._database.read() as connection:
            result = await connection.execute(query.order_by(desc(_CANDLES.c.time)).limit(positive(count)))
            while part := result.fetchmany(_AT_A_TIME):
                rows += part
                await asyncio.sleep(0)  # gives other tasks of the event loop a turn
        if not rows:
            return None
        invented = self.sources.is_invented(rows[0].source)
        alike = list(takewhile(lambda row: self.sources.is_invented(row.source) is invented, rows))[::-1]
        open_, high, low, close = (np.array([float(row[place]) for row in alike]) for place in range(2, 6))
        return MidBars(pair, granularity, [row.time for row in alike], open_, high, low, close, simulated=invented)

    async def last_time(self, pair: CurrencyPair, granularity: Granularity, *, real_only: bool = False) -> datetime | None:
        """Return the start of the newest complete bar; None if there is none. Raises DatabaseUnavailable."""
        newest = await self.newest([pair], granularity, 1, real_only=real_only)
        return newest[pair][0].time if newest else None

    async def days(self, pairs: Sequence[CurrencyPair], now: datetime) -> dict[CurrencyPair, TradingDay]:
        """Return the newest trading day of each pair that has begun by ``now``; a pair without one is absent.

        Raises DatabaseUnavailable.
        """
        found: dict[CurrencyPair, list[Candle]] = {}
        of_days = select(_CANDLES).where(_CANDLES.c.granularity == Granularity.D.value, _CANDLES.c.time <= now)
        for first in range(0, len(pairs), _PAIRS_A_QUERY):
            each = [
                of_days.where(_CANDLES.c.pair == pair.name).order_by(desc(_CANDLES.c.time)).limit(2).subquery().select()
                for pair in pairs[first : first + _PAIRS_A_QUERY]
            ]
            for candle in await self._candles(union_all(*each)):
                found.setdefault(candle.pair, []).append(candle)
        days = {}
        for pair, bars in found.items():
            *before, newest = sorted(bars, key=lambda bar: bar.time)
            days[pair] = TradingDay.of(newest, before[0] if before else None)
        return days

    async def _candles(self, query: Executable) -> list[Candle]:
        async with self._database.read() as connection:
            return candles_of(await connection.execute(query))

    def _complete(self, pair: CurrencyPair, granularity: Granularity, until: datetime | None, real_only: bool) -> Select[Any]:
        """Select the complete bars of a pair."""
        query = select(_CANDLES).where(
            _CANDLES.c.pair == pair.name, _CANDLES.c.granularity == granularity.value, _CANDLES.c.complete
        )
        if until is not None:
            # A bar has ended by a time if it starts before the bar that contains that time.
            query = query.where(_CANDLES.c.time < granularity.start(until))
        return query.where(is_real(_CANDLES.c.source, self.sources)) if real_only else query

    def _series(self, granularity: Granularity, rows: Sequence[Any]) -> CloseSeries:
        """Return the series of rows of a time, a close and a source, newest first."""
        newest, _, source = rows[0]
        invented = self.sources.is_invented(source)
        alike = takewhile(lambda row: self.sources.is_invented(row[2]) is invented, rows)
        return CloseSeries({time: float(close) for time, close, _ in alike}, granularity.end(newest), source, invented)
