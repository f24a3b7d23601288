from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from app.errors import InvalidCursor
from app.sources import SOURCES
from app.storage.alerts.alerts import Alerts
from app.storage.database.database import Database, open_database
from app.storage.recording import Batch, Recording, StoredAlert

_NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
_ONE = StoredAlert(
    "9-0",
    "volatility_alert",
    ("EUR_USD",),
    "info",
    Decimal("0.0234"),
    Decimal("0.0200"),
    "it rose",
    _NOON,
    b'{"severity":"info"}',
)
_CORRELATION = replace(
    _ONE,
    id="10-0",
    type="correlation_alert",
    pairs=("EUR_USD", "USD_JPY"),
    severity="warning",
    value=Decimal("-0.82"),
    time=_NOON + timedelta(hours=1),
)
_OTHER = replace(_ONE, id="10-9", pairs=("GBP_USD",), severity="critical", time=_NOON + timedelta(hours=2))
_LAST = replace(
    _ONE, id="10-10", type="price_alert", pairs=("USD_JPY",), value=Decimal("157.000"), time=_NOON + timedelta(hours=3)
)


@pytest.fixture
async def alerts(database: Database) -> Alerts:
    await Recording(database, SOURCES).write(Batch("11-0", 4, alerts=[_OTHER, _ONE, _LAST, _CORRELATION]))
    return Alerts(database)


async def test_alerts_come_newest_first_as_they_were(alerts: Alerts) -> None:
    found = await alerts.page(limit=10)
    assert found == [_LAST, _OTHER, _CORRELATION, _ONE]
    assert [str(alert.value) for alert in found] == ["157.000", "0.0234", "-0.82", "0.0234"]


async def test_a_page_goes_on_where_the_last_one_ended(alerts: Alerts) -> None:
    assert await alerts.page(limit=2) == [_LAST, _OTHER]
    assert await alerts.page(limit=2, before=_OTHER.id) == [_CORRELATION, _ONE]
    assert await alerts.page(limit=2, before=_ONE.id) == []
    assert await alerts.page(limit=1, before="10-1") == [_CORRELATION]


async def test_alerts_are_found_by_what_they_are(alerts: Alerts) -> None:
    page = alerts.page
    assert await page(limit=9, pairs=["USD_JPY"]) == [_LAST, _CORRELATION]
    assert await page(limit=9, pairs=["EUR_USD", "USD_JPY"]) == [_LAST, _CORRELATION, _ONE]
    assert await page(limit=9, pairs=[]) == []
    assert await page(limit=9, types=["price_alert", "correlation_alert"]) == [_LAST, _CORRELATION]
    assert await page(limit=9, severities=["info"]) == [_LAST, _ONE]
    assert await page(limit=9, start=_CORRELATION.time, end=_LAST.time) == [_OTHER, _CORRELATION]
    assert await page(limit=9, pairs=["USD_JPY"], severities=["warning"], end=_LAST.time, before="99-0") == [_CORRELATION]
    assert await page(limit=9, pairs=["' OR 1=1 --"]) == []


async def test_a_cursor_or_a_limit_that_is_none_is_refused(alerts: Alerts) -> None:
    with pytest.raises(InvalidCursor):
        await alerts.page(limit=1, before="yesterday")
    with pytest.raises(ValueError, match="positive"):
        await alerts.page(limit=0)


async def test_a_message_with_any_characters_is_kept(database: Database) -> None:
    message = "\0 \ud800 '; DROP TABLE alerts; -- 😀"
    await Recording(database, SOURCES).write(Batch("11-0", 1, alerts=[replace(_ONE, message=message, pairs=("A\0B",))]))
    (found,) = await Alerts(database).page(limit=1)
    assert found == replace(_ONE, message="\ufffd \ufffd '; DROP TABLE alerts; -- 😀", pairs=("A\ufffdB",))


async def test_the_alerts_of_a_pair_are_found_without_reading_all_others(sqlite_url: str) -> None:
    async with open_database(sqlite_url) as database:
        await database.migrate()
        async with database.read() as connection:
            query = "EXPLAIN QUERY PLAN SELECT * FROM alerts WHERE pair1 IN ('A') OR pair2 IN ('A')"
            plan = " ".join(row.detail for row in await connection.execute(text(query)))
    assert "ix_alerts_pair1" in plan
    assert "ix_alerts_pair2" in plan
    assert "SCAN" not in plan
