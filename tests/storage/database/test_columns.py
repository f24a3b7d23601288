import asyncio
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer, MetaData, Table, insert, select
from sqlalchemy.exc import StatementError

from app.storage.database.columns import FreeText, Json, Moment, Money
from app.storage.database.database import Database, open_database

_VALUES = Table(
    "kept",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("money", Money),
    Column("moment", Moment),
    Column("json", Json),
    Column("free_text", FreeText),
)


async def kept(database: Database, column: str, values: list[Any]) -> list[Any]:
    """The values as they come back from a column of their own."""
    async with database.begin() as connection:
        await connection.run_sync(_VALUES.metadata.drop_all)
        await connection.run_sync(_VALUES.metadata.create_all)
        rows = [{"id": number, column: value} for number, value in enumerate(values)]
        await connection.execute(insert(_VALUES), rows)
    async with database.read() as connection:
        return list((await connection.execute(select(_VALUES.c[column]).order_by(_VALUES.c.id))).scalars())


def digits(amounts: list[Decimal]) -> list[str]:
    return [str(amount) for amount in amounts]


async def test_decimals_come_back_with_the_same_digits(database: Database) -> None:
    texts = [
        "1.10000",
        "1.1",
        "0.00001",
        "-0.5",
        "0",
        "0.000",
        "157.123",
        "12345678901234567890.123456789012345678",
        "1.000000000015",
    ]
    amounts = [Decimal(text) for text in texts]
    assert digits(await kept(database, "money", amounts)) == texts


async def test_a_decimal_in_scientific_notation_keeps_its_value(database: Database) -> None:
    amounts = [Decimal("1E+3"), Decimal("2.5E-8")]
    assert digits(await kept(database, "money", amounts)) == ["1000", "2.5E-8"]


def test_any_decimal_comes_back_as_it_was(database_url: str) -> None:
    @settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
    @given(st.lists(st.decimals(-(10**12), 10**12, allow_nan=False, places=8), min_size=20))
    def check(amounts: list[Decimal]) -> None:
        async def kept_amounts() -> list[Decimal]:
            async with open_database(database_url) as database:
                return await kept(database, "money", amounts)

        came_back = asyncio.run(kept_amounts())
        assert came_back == amounts

    check()


async def test_times_come_back_in_utc_to_the_microsecond_and_sort(database: Database) -> None:
    tokyo = timezone(timedelta(hours=9))
    times = [
        datetime(2026, 1, 31, 9, 30, tzinfo=UTC),
        datetime(2026, 1, 31, 9, 30, 0, 1, tzinfo=UTC),
        datetime(2026, 1, 31, 18, 30, 0, 2, tzinfo=tokyo),
        datetime(2007, 1, 1, tzinfo=UTC),
    ]
    came_back = await kept(database, "moment", times)
    assert came_back == times
    assert {time.utcoffset() for time in came_back} == {timedelta()}
    async with database.read() as connection:
        in_order = (await connection.execute(select(_VALUES.c.id).order_by(_VALUES.c.moment))).scalars().all()
    assert in_order == [3, 0, 1, 2]


async def test_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(StatementError, match="a time needs an offset"):
        await kept(database, "moment", [datetime(2026, 1, 31)])  # noqa: DTZ001


async def test_json_comes_back_as_the_same_bytes(database: Database) -> None:
    payloads = [b'{"b":1,  "a":2,"a":3}', '{"m":"£ ≥ 😀"}'.encode(), b'{"zero":"\\u0000","half":"\\ud800"}', b"1.10"]
    assert await kept(database, "json", payloads) == payloads


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ('it\'s "fine" 😀; DROP TABLE kept', 'it\'s "fine" 😀; DROP TABLE kept'),
        ("a\0b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("", ""),
    ],
)
async def test_text_that_the_database_cannot_hold_is_marked(database: Database, written: str, text: str) -> None:
    assert await kept(database, "free_text", [written]) == [text]


async def test_nothing_comes_back_as_nothing(database: Database) -> None:
    for column in ("money", "moment", "json", "free_text"):
        assert await kept(database, column, [None]) == [None]
