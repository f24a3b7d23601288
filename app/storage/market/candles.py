"""Bars, kept for good."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from sqlalchemy import Executable, Row, Select, Text, desc, select, type_coerce, union_all

from app.market.bars.candle import Candle, Granularity
from app.market.hours.day import TradingDay
from app.market.pair import CurrencyPair
from app.market.source import Sources
from app.storage.database.database import Database
from app.storage.database.tables import CandleRow, table_of
from app.storage.market.candle_rows import candles_of, is_real, rows_of, write_bars

_CANDLES = table_of(CandleRow)
_CHUNK = 2000
_AT_A_TIME = 500  # rows that are read without a pause
_PAIRS_A_QUERY = 100  # SQLite joins at most 500 queries into one


@dataclass(frozen=True, slots=True)
class CloseSeries:
    """The closes of mids by the starts of their bars, the newest first; where the newest bar ends, and its source.

    The bars are all real or all invented.
    """

    closes: dict[datetime, float]
    end: datetime
    source: str
    simulated: bool


class Candles:
    """The bars in the database. There is one of each pair, length and start."""

    def __init__(self, database: Database, sources: Sources) -> None:
        self._database = database
        self.sources = sources

    async def write(self, candles: Sequence[Candle]) -> int:
        """Write bars, in any order; how many of them were added or changed.

        A real bar replaces one of an invented source, never the other way round; of two that are both real or both invented, a
        complete one is never replaced by an unfinished one, and otherwise the newer writing stays. Writing the same again changes
        nothing. Many bars are written in several transactions, so that other writers have their turn. Raises DatabaseUnavailable;
        whoever does not know how far it came writes them all again.
        """
        changed = 0
        for first in range(0, len(candles), _CHUNK):
            rows = rows_of(candles[first : first + _CHUNK], self.sources)
            async with self._database.begin() as connection:
                changed += await write_bars(connection, rows, self.sources)
        return changed

    async def page(
        self, pair: CurrencyPair, granularity: Granularity, *, start: datetime | None, end: datetime | None, limit: int
    ) -> list[Candle]:
        """Bars that start in ``[start, end)``, also unfinished ones, oldest first.

        With a start the first ``limit`` from there, without one the last ``limit`` before the end. Raises DatabaseUnavailable.
        """
        query = select(_CANDLES).where(_CANDLES.c.pair == pair.name, _CANDLES.c.granularity == granularity.value)
        if start is not None:
            query = query.where(_CANDLES.c.time >= start)
        if end is not None:
            query = query.where(_CANDLES.c.time < end)
        query = query.order_by(_CANDLES.c.time if start is not None else desc(_CANDLES.c.time)).limit(_positive(limit))
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
        """Up to ``count`` newest complete bars of each pair, oldest first; a pair that has none is absent.

        With ``until`` only bars that ended by then; ``real_only`` leaves out those of invented sources. Raises
        DatabaseUnavailable.
        """
        _positive(count)
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
        """What correlations need of the bars that ``newest`` gives, in a tenth of the time; a pair that has none is absent.

        Of real and invented bars only the newest are taken that are alike. Raises DatabaseUnavailable.
        """
        _positive(count)
        # A mid is read as it is stored: it becomes a binary number at once, without a Decimal between on SQLite.
        columns = (_CANDLES.c.time, type_coerce(_CANDLES.c.mid_close, Text), _CANDLES.c.source)
        found: dict[CurrencyPair, CloseSeries] = {}
        for pair in dict.fromkeys(pairs):
            query = self._complete(pair, granularity, until, real_only).with_only_columns(*columns)
            rows: list[Row[Any]] = []
            async with self._database.read() as connection:
                result = await connection.execute(query.order_by(desc(_CANDLES.c.time)).limit(count))
                while part := result.fetchmany(_AT_A_TIME):
                    rows += part
                    await asyncio.sleep(0)  # whoever else shares the event loop has a turn
            if rows:
                found[pair] = self._series(granularity, rows)
        return found

    async def last_time(self, pair: CurrencyPair, granularity: Granularity, *, real_only: bool = False) -> datetime | None:
        """The start of the newest complete bar; None where there is none. Raises DatabaseUnavailable."""
        newest = await self.newest([pair], granularity, 1, real_only=real_only)
        return newest[pair][0].time if newest else None

    async def days(self, pairs: Sequence[CurrencyPair], now: datetime) -> dict[CurrencyPair, TradingDay]:
        """The newest trading day of each pair that has begun by ``now``; a pair without one is absent.

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
        """The complete bars of a pair."""
        query = select(_CANDLES).where(
            _CANDLES.c.pair == pair.name, _CANDLES.c.granularity == granularity.value, _CANDLES.c.complete
        )
        if until is not None:
            # A bar has ended by a moment where it starts before the bar that holds the moment.
            query = query.where(_CANDLES.c.time < granularity.start(until))
        return query.where(is_real(_CANDLES.c.source, self.sources)) if real_only else query

    def _series(self, granularity: Granularity, rows: Sequence[Any]) -> CloseSeries:
        """The series of rows of a time, a close and a source, the newest first."""
        newest, _, source = rows[0]
        invented = self.sources.is_invented(source)
        alike = takewhile(lambda row: self.sources.is_invented(row[2]) is invented, rows)
        return CloseSeries({time: float(close) for time, close, _ in alike}, granularity.end(newest), source, invented)


def _positive(limit: int) -> int:
    if limit < 1:
        raise ValueError(f"a limit has to be positive: {limit}")
    return limit
