"""Bars as texts, for answers and files: read without a Decimal, a time or an object for each of their prices."""

from datetime import datetime
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Text, desc, func, select, type_coerce
from sqlalchemy import cast as sql_cast

from app.market.bars.candle import Granularity
from app.market.pair import CurrencyPair
from app.storage.database.database import Database
from app.storage.database.limit import positive
from app.storage.database.tables import CandleRow, table_of

_CANDLES = table_of(CandleRow)
_PRICES = [f"{side}_{name}" for side in ("bid", "mid", "ask") for name in ("open", "high", "low", "close")]


class BarTexts(NamedTuple):
    """A stored bar. The time is RFC 3339 with six decimals; prices are decimal texts with the digits that are stored."""

    time: str
    bid_open: str
    bid_high: str
    bid_low: str
    bid_close: str
    mid_open: str
    mid_high: str
    mid_low: str
    mid_close: str
    ask_open: str
    ask_high: str
    ask_low: str
    ask_close: str
    volume: int
    complete: bool
    source: str


class BarReader:
    """Reads bars as texts. Every method raises DatabaseUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(
        self, pair: CurrencyPair, granularity: Granularity, *, start: datetime | None, end: datetime | None, limit: int
    ) -> list[BarTexts]:
        """Return the bars that ``Candles.page`` returns: the first from the start or, without one, the last before the end."""
        async with self._database.read() as connection:
            columns = _columns(connection.dialect.name)
            query = select(*columns).where(_CANDLES.c.pair == pair.name, _CANDLES.c.granularity == granularity.value)
            if start is not None:
                query = query.where(_CANDLES.c.time >= start)
            if end is not None:
                query = query.where(_CANDLES.c.time < end)
            query = query.order_by(_CANDLES.c.time if start is not None else desc(_CANDLES.c.time)).limit(positive(limit))
            # The rows have the members of BarTexts, in their order.
            rows = cast(list[BarTexts], (await connection.execute(query)).all())
        return rows if start is not None else rows[::-1]


def _columns(dialect: str) -> list[ColumnElement[Any]]:
    plain: list[ColumnElement[Any]] = [_CANDLES.c.volume, _CANDLES.c.complete, _CANDLES.c.source]
    if dialect == "sqlite":  # where times and prices are stored as these texts
        return [*(type_coerce(_CANDLES.c[name], Text).label(name) for name in ["time", *_PRICES]), *plain]
    time = func.to_char(func.timezone("UTC", _CANDLES.c.time), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"', type_=Text)
    return [time.label("time"), *(sql_cast(_CANDLES.c[name], Text).label(name) for name in _PRICES), *plain]
