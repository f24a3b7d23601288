"""What a recorder takes from the log, stored without loss or repetition."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, Table, delete, select, tuple_
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
from app.storage.refusals import REFUSALS, RefusedEvent, Row, is_refusal, put_aside, write_what_goes

__all__ = ["Batch", "Recording", "RefusedEvent", "StoredAlert", "StoredEvent", "Tick"]

_CURSORS = table_of(RecorderCursorRow)
_BARS = table_of(RecorderBarRow)
_TICKS = table_of(TickRow)
_EVENTS = table_of(EventRow)
_ALERTS = table_of(AlertRow)

_ROW_BY_ROW_WITHIN = 60.0
"""Seconds that a batch with rows that are refused may take: in the worst case each row is tried alone."""

_PRICE = "price_update"  # the type of a tick, whose row has none


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
    ``refused`` are events that cannot be read. ``begins_anew`` where the clock of the feed was set back: the bars that the
    recorder was building until then are not continued.
    """

    cursor: str
    seq: int
    ticks: Sequence[Tick] = ()
    events: Sequence[StoredEvent] = ()
    alerts: Sequence[StoredAlert] = ()
    candles: Sequence[Candle] = ()
    refused: Sequence[RefusedEvent] = ()
    begins_anew: bool = False


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
        """Return the bars under construction at the recorder's position. Raises DatabaseUnavailable."""
        return [bar for bar in await self.newest_bars() if not bar.complete]

    async def newest_bars(self) -> list[Candle]:
        """Return the bar that the recorder began last, for each pair and length. Raises DatabaseUnavailable.

        They are as the recorder built them, whatever has since happened to the public bars.
        """
        query = select(_BARS).where(_BARS.c.recorder == self._name).order_by(_BARS.c.pair, _BARS.c.granularity)
        async with self._database.read() as connection:
            return candles_of(await connection.execute(query))

    async def begin_with(self, candles: Sequence[Candle]) -> None:
        """Let the recorder continue these unfinished bars, where it has none of its own. Raises DatabaseUnavailable."""
        rows = [row | {"recorder": self._name} for row in rows_of(candles, self._sources)]
        async with self._database.begin() as connection:
            await insert_new(connection, _BARS, rows)

    async def write(self, batch: Batch) -> int:
        """Store a whole batch with its position, or nothing; return how many of its rows were put aside as refused.

        Rows that the database refuses do not keep the others from being stored. Raises DatabaseUnavailable, and InvalidCursor
        for a malformed id.

        A batch that is not beyond the stored position was written before and changes nothing. A caller that does not know
        whether a batch was written can therefore write it again.
        """
        cursors = [self._cursor_row(batch)]
        rows = {
            _TICKS: _by_id(_tick_row(tick) for tick in batch.ticks),
            _EVENTS: _by_id(_event_row(event) for event in batch.events),
            _ALERTS: _by_id(alert_rows.row_of(alert) for alert in batch.alerts),
        }
        try:
            async with self._database.begin() as connection:
                if not await upsert(connection, _CURSORS, cursors, _lies_behind):
                    return 0
                for table, of_table in rows.items():
                    await insert_new(connection, table, of_table)
                await self._forget_before(connection, batch)
                await write_bars(connection, rows_of(batch.candles, self._sources), self._sources)
                await self._remember_newest(connection, batch.candles)
                await put_aside(connection, batch.refused)
                return len(batch.refused)
        except REFUSALS as error:
            if not is_refusal(error):
                raise
        async with self._database.begin(_ROW_BY_ROW_WITHIN) as connection:
            if not await upsert(connection, _CURSORS, cursors, _lies_behind):
                return 0
            await self._forget_before(connection, batch)
            refused = [*batch.refused]
            for table, of_table in rows.items():
                refused += await self._insert_what_goes(connection, table, of_table)
            refused += await self._write_bars_that_go(connection, batch)
            await put_aside(connection, refused)
            return len(refused)

    async def _insert_what_goes(self, connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> list[RefusedEvent]:
        refused = await write_what_goes(connection, rows, partial(insert_new, connection, table))
        return [
            RefusedEvent.of(f"{row['milliseconds']}-{row['number']}", str(row.get("type", _PRICE)), row, error)
            for row, error in refused
        ]

    async def _write_bars_that_go(self, connection: AsyncConnection, batch: Batch) -> list[RefusedEvent]:
        rows = rows_of(batch.candles, self._sources)
        write = partial(write_bars, connection, sources=self._sources)
        refused = await write_what_goes(connection, rows, write)
        # The bars of a recorder are the same rows: what one table refuses, the other does too.
        bad = {(row["pair"], row["granularity"], row["time"]) for row, _ in refused}
        kept = [bar for bar in batch.candles if (bar.pair.name, bar.granularity.value, bar.time) not in bad]
        await self._remember_newest(connection, kept)
        return [RefusedEvent.of(batch.cursor, "bar", row, error) for row, error in refused]

    async def _forget_before(self, connection: AsyncConnection, batch: Batch) -> None:
        if batch.begins_anew:
            await connection.execute(delete(_BARS).where(_BARS.c.recorder == self._name))

    async def _remember_newest(self, connection: AsyncConnection, candles: Sequence[Candle]) -> None:
        newest = {(candle.pair.name, candle.granularity.value): candle for candle in sorted(candles, key=_progress)}
        rows = [row_of(newest[key]) | {"recorder": self._name} for key in sorted(newest)]
        await upsert(connection, _BARS, rows, _is_no_older)

    def _cursor_row(self, batch: Batch) -> dict[str, object]:
        milliseconds, number = numbers_of(batch.cursor)
        return {"recorder": self._name, "milliseconds": milliseconds, "number": number, "seq": batch.seq}


def _lies_behind(stored: Columns, new: Columns) -> ColumnElement[bool]:
    """True if the new position comes after the stored one in the log."""
    return tuple_(stored.milliseconds, stored.number) < tuple_(new.milliseconds, new.number)


def _is_no_older(stored: Columns, new: Columns) -> ColumnElement[bool]:
    """True unless the new bar is a correction of one before the stored bar."""
    is_no_older: ColumnElement[bool] = new.time >= stored.time
    return is_no_older


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
