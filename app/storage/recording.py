"""What a recorder takes from the log, stored without loss or repetition."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, bindparam, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from app.market.bars.candle import Candle
from app.market.quote import Quote
from app.market.source import Sources
from app.storage.alerts import rows as alert_rows
from app.storage.alerts.rows import StoredAlert
from app.storage.database.database import Database
from app.storage.database.log_ids import id_of, numbers_of
from app.storage.database.tables import AlertRow, EventRow, RecorderBarRow, RecorderCursorRow, TickRow, table_of
from app.storage.database.upsert import Columns, insert_new, upsert
from app.storage.market.candle_rows import candles_of, row_of, rows_of, write_bars

__all__ = ["Batch", "Recording", "StoredAlert", "StoredEvent", "Tick"]

_CURSORS = table_of(RecorderCursorRow)
_BARS = table_of(RecorderBarRow)
_TICKS = table_of(TickRow)
_EVENTS = table_of(EventRow)
_ALERTS = table_of(AlertRow)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event of the log: its cursor, its payload as JSON without the id, and the pairs it concerns (empty: all clients)."""

    id: str
    type: str
    pairs: tuple[str, ...]
    data: bytes
    time: datetime


@dataclass(frozen=True, slots=True)
class Tick:
    """A quote and its cursor in the log."""

    id: str
    quote: Quote


@dataclass(frozen=True, slots=True)
class Batch:
    """A stretch of the log up to ``cursor``, whose sequence number is ``seq``, and the bars that it changed.

    The bars are those that it closed and, for each pair and length that it changed, the unfinished bar as it is now.
    """

    cursor: str
    seq: int
    ticks: Sequence[Tick] = ()
    events: Sequence[StoredEvent] = ()
    alerts: Sequence[StoredAlert] = ()
    candles: Sequence[Candle] = ()


class Recording:
    """What the recorder of this ``name`` has stored, and its position in the log."""

    def __init__(self, database: Database, sources: Sources, name: str = "recorder") -> None:
        """``sources`` tells which sources are invented."""
        self._database = database
        self._sources = sources
        self._name = name

    async def position(self) -> tuple[str, int] | None:
        """Return the cursor and sequence number of the last batch; None before the first. Raises DatabaseUnavailable."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(_CURSORS).where(_CURSORS.c.recorder == self._name))).one_or_none()
        return None if row is None else (id_of(row.milliseconds, row.number), row.seq)

    async def unfinished(self) -> list[Candle]:
        """Return the bars under construction at the recorder's position, one per pair and length. Raises DatabaseUnavailable.

        They are as the recorder built them, whatever has since happened to the public bars.
        """
        query = select(_BARS).where(_BARS.c.recorder == self._name).order_by(_BARS.c.pair, _BARS.c.granularity)
        async with self._database.read() as connection:
            return candles_of(await connection.execute(query))

    async def write(self, batch: Batch) -> None:
        """Store a whole batch with its position, or nothing. Raises DatabaseUnavailable, and InvalidCursor for a malformed id.

        A batch that is not beyond the stored position was written before and changes nothing. A caller that does not know
        whether a batch was written can therefore write it again.
        """
        cursors = [self._cursor_row(batch)]
        ticks = _by_id(_tick_row(tick) for tick in batch.ticks)
        events = _by_id(_event_row(event) for event in batch.events)
        alerts = _by_id(alert_rows.row_of(alert) for alert in batch.alerts)
        candles = rows_of(batch.candles, self._sources)
        async with self._database.begin() as connection:
            if not await upsert(connection, _CURSORS, cursors, _lies_behind):
                return
            await insert_new(connection, _TICKS, ticks)
            await insert_new(connection, _EVENTS, events)
            await insert_new(connection, _ALERTS, alerts)
            await write_bars(connection, candles, self._sources)
            await self._remember_unfinished(connection, batch.candles)

    async def _remember_unfinished(self, connection: AsyncConnection, candles: Sequence[Candle]) -> None:
        newest = {(candle.pair.name, candle.granularity.value): candle for candle in sorted(candles, key=_progress)}
        unfinished = [row_of(newest[key]) | {"recorder": self._name} for key in sorted(newest) if not newest[key].complete]
        await upsert(connection, _BARS, unfinished)
        closed = [
            {"of_pair": pair, "of_granularity": granularity}
            for (pair, granularity) in newest
            if newest[pair, granularity].complete
        ]
        if closed:
            done = delete(_BARS).where(
                _BARS.c.recorder == self._name,
                _BARS.c.pair == bindparam("of_pair"),
                _BARS.c.granularity == bindparam("of_granularity"),
            )
            await connection.execute(done, closed)

    def _cursor_row(self, batch: Batch) -> dict[str, object]:
        milliseconds, number = numbers_of(batch.cursor)
        return {"recorder": self._name, "milliseconds": milliseconds, "number": number, "seq": batch.seq}


def _lies_behind(stored: Columns, new: Columns) -> ColumnElement[bool]:
    """True if the new position comes after the stored one in the log."""
    return tuple_(stored.milliseconds, stored.number) < tuple_(new.milliseconds, new.number)


def _progress(candle: Candle) -> tuple[datetime, bool]:
    """Return the sort key by which the bars of a pair and length are in the order in which they were built."""
    return candle.time, candle.complete


def _by_id(rows: Iterable[dict[str, object]]) -> list[dict[str, object]]:
    """Keep one row per id."""
    return list({(row["milliseconds"], row["number"]): row for row in rows}.values())


def _tick_row(tick: Tick) -> dict[str, object]:
    milliseconds, number = numbers_of(tick.id)
    quote = tick.quote
    return {
        "milliseconds": milliseconds,
        "number": number,
        "pair": quote.pair.name,
        "bid": quote.bid,
        "ask": quote.ask,
        "time": quote.time,
        "source": quote.source,
        "kind": quote.kind.value,
    }


def _event_row(event: StoredEvent) -> dict[str, object]:
    milliseconds, number = numbers_of(event.id)
    return {
        "milliseconds": milliseconds,
        "number": number,
        "type": event.type,
        "pairs": " ".join(event.pairs),
        "time": event.time,
        "data": event.data,
    }
