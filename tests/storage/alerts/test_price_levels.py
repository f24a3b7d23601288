import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError

from app.errors import NotFound
from app.market.price_level import Direction, PriceLevel
from app.storage.alerts.price_levels import PriceLevels
from app.storage.database.database import Database, open_database
from tests.storage.bars import EUR_USD, USD_JPY

_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
_ONE = PriceLevel("one", EUR_USD, Direction.ABOVE, Decimal("1.10000"), "warning", None, False, 0, _NOON)
_OTHER = PriceLevel(
    "other", USD_JPY, Direction.BELOW, Decimal("150.5"), "info", "buy 😀", True, 3600, _NOON + timedelta(1), False, 3, _NOON
)


@pytest.fixture
def levels(database: Database) -> PriceLevels:
    return PriceLevels(database)


async def test_levels_come_back_as_they_were_oldest_first(levels: PriceLevels) -> None:
    await levels.add(_OTHER)
    await levels.add(_ONE)
    assert await levels.all() == [_ONE, _OTHER]
    assert await levels.all(USD_JPY) == [_OTHER]
    assert str((await levels.get("one")).level) == "1.10000"
    assert await levels.get("other") == _OTHER
    assert await levels.count() == 2


async def test_what_is_not_there_is_not_found(levels: PriceLevels) -> None:
    assert await levels.all() == []
    assert await levels.count() == 0
    with pytest.raises(NotFound, match="'nobody'"):
        await levels.get("nobody")
    with pytest.raises(NotFound, match="'nobody'"):
        await levels.delete("nobody")


async def test_a_level_that_is_deleted_is_gone(levels: PriceLevels) -> None:
    await levels.add(_ONE)
    await levels.add(_OTHER)
    await levels.delete("one")
    assert await levels.all() == [_OTHER]


async def test_the_same_id_twice_is_a_fault_of_the_program(levels: PriceLevels) -> None:
    await levels.add(_ONE)
    version = await levels.version()
    with pytest.raises(IntegrityError):
        await levels.add(replace(_OTHER, id="one"))
    assert await levels.all() == [_ONE]
    assert await levels.version() == version


async def test_saving_remembers_how_far_a_level_has_come_and_nothing_else(levels: PriceLevels) -> None:
    await levels.add(_ONE)
    await levels.add(_OTHER)
    triggered = replace(_ONE, armed=False, triggered=1, last_triggered=_NOON)
    deleted = replace(_ONE, id="deleted")
    await levels.save([replace(triggered, message="another", level=Decimal(2)), deleted])
    assert await levels.all() == [triggered, _OTHER]
    await levels.save([])
    await levels.save([_ONE])
    assert await levels.get("one") == _ONE


async def test_the_version_changes_with_every_level_added_or_deleted_and_only_then(levels: PriceLevels) -> None:
    versions = [await levels.version()]
    await levels.add(_ONE)
    versions.append(await levels.version())
    await levels.add(_OTHER)
    versions.append(await levels.version())
    await levels.delete("one")
    versions.append(await levels.version())
    await levels.add(_ONE)
    versions.append(await levels.version())
    assert len(set(versions)) == len(versions)
    await levels.save([_ONE])
    with pytest.raises(NotFound):
        await levels.delete("nobody")
    assert await levels.version() == versions[-1]


async def test_levels_added_at_once_are_all_counted(database: Database, database_url: str) -> None:
    async with open_database(database_url) as other:
        new = [replace(_ONE, id=str(number)) for number in range(10)]
        await asyncio.gather(*(PriceLevels((database, other)[n % 2]).add(level) for n, level in enumerate(new)))
    levels = PriceLevels(database)
    assert (await levels.count(), await levels.version()) == (10, 10)
