"""Ticks come back by the time at which they entered the log."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from app.errors import InvalidCursor
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.sources import SOURCES
from app.storage.database.database import Database
from app.storage.database.tables import TickRow, table_of
from app.storage.market.ticks import Ticks
from app.storage.recording import Batch, Recording, Tick

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
MILLISECONDS = int(FIRST.timestamp() * 1000)


def ticks(count: int) -> list[Tick]:
    """Ticks that enter the log a millisecond apart, of two pairs in turn."""
    pairs = [CurrencyPair.parse("EUR_USD"), CurrencyPair.parse("USD_JPY")]
    return [
        Tick(
            f"{MILLISECONDS + number}-{number % 2}",
            Quote(pairs[number % 2], Decimal("1.0945"), Decimal("1.09458"), FIRST + timedelta(microseconds=number), "oanda"),
        )
        for number in range(count)
    ]


async def test_the_ticks_of_a_pair_are_found_by_an_index(database: Database) -> None:
    rows = [
        {"milliseconds": MILLISECONDS + number, "number": 0, "pair": f"P{number % 50}", "bid": Decimal(1), "ask": Decimal(2),
         "time": FIRST, "source": "oanda", "kind": "quoted"}
        for number in range(10_000)
    ]  # fmt: skip
    table = table_of(TickRow)
    async with database.begin() as connection:
        await connection.execute(table.insert(), rows)
        await connection.execute(text("ANALYZE"))
        explain = "EXPLAIN QUERY PLAN" if connection.dialect.name == "sqlite" else "EXPLAIN"
        for order in ("", " DESC"):
            query = (
                f"{explain} SELECT bid FROM ticks WHERE pair IN ('P7') AND milliseconds >= {MILLISECONDS} "
                f"AND milliseconds < {MILLISECONDS + 9000} ORDER BY milliseconds{order}, number{order} LIMIT 100"
            )
            plan = " ".join(str(row) for row in await connection.execute(text(query)))
            assert "ix_ticks_pair" in plan


async def test_pages_of_ticks(database: Database) -> None:
    stored = ticks(20)
    await Recording(database, SOURCES).write(Batch(stored[-1].id, 20, ticks=stored))
    store, ids = Ticks(database), [tick.id for tick in stored]
    for query, expected in (
        ({"limit": 5}, ids[:5]),
        ({"limit": 5, "last": True}, ids[-5:]),
        ({"limit": 5, "since": ids[3]}, ids[4:9]),
        ({"limit": 5, "pairs": ["USD_JPY"]}, ids[1:10:2]),
        ({"limit": 50, "start": FIRST + timedelta(milliseconds=4), "end": FIRST + timedelta(milliseconds=6)}, ids[4:6]),
        ({"limit": 50, "start": FIRST + timedelta(microseconds=3999)}, ids[4:]),
        ({"limit": 50, "pairs": []}, []),
    ):
        assert [tick.id for tick in await store.page(**query)] == expected, query
    [tick] = await store.page(limit=1)
    assert tick == (ids[0], "2026-01-05T00:00:00.000000Z", "EUR_USD", "1.0945", "1.09458", "oanda", "quoted")
    with pytest.raises(InvalidCursor):
        await store.page(limit=1, since="x")
