"""Past alerts: which ones, in what order, with what payload."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import httpx
import orjson
import pytest

from app.market.clock import rfc3339
from app.routers.alerts import alerts as alerts_router
from app.routers.alerts.alerts import PastAlerts
from app.sources import SOURCES
from app.storage.recording import Batch, Recording, StoredAlert
from tests.routers.running import FIRST, Query, Rest, assert_problem, assert_refused, rest, without_database

PATH = "/api/v1/alerts"
MINUTE = timedelta(minutes=1)


def stored(number: int, type: str, pairs: tuple[str, ...], severity: str) -> StoredAlert:
    """Alert number so-and-so, a minute after the one before it."""
    time = FIRST + number * MINUTE
    facts: dict[str, dict[str, object]] = {
        "volatility_alert": {"instrument": pairs[0], "volatility": 0.12, "threshold": 0.1},
        "correlation_alert": {"pair1": pairs[0], "pair2": pairs[-1], "correlation": 0.82, "threshold": 0.8},
        "price_alert": {"instrument": pairs[0], "level_id": "5e", "level": "1.10000", "direction": "above", "price": "1.10010"},
    }
    data = orjson.dumps({**facts[type], "severity": severity, "message": "café", "timestamp": rfc3339(time)})
    return StoredAlert(cursor(number), type, pairs, severity, Decimal("0.12"), Decimal("0.1"), "café", time, data)


def cursor(number: int) -> str:
    return f"{int((FIRST + number * MINUTE).timestamp() * 1000)}-{number}"


ALERTS = [
    stored(0, "volatility_alert", ("EUR_USD",), "info"),
    stored(1, "correlation_alert", ("EUR_USD", "GBP_USD"), "warning"),
    stored(2, "price_alert", ("USD_JPY",), "info"),
    stored(3, "volatility_alert", ("GBP_USD",), "critical"),
    stored(4, "correlation_alert", ("USD_JPY", "EUR_USD"), "info"),
]


async def keep(api: Rest, alerts: Sequence[StoredAlert] = ALERTS) -> None:
    """Have alerts in the database, as a recorder would."""
    await Recording(api.database, SOURCES).write(Batch(cursor(10), 10, alerts=alerts))


def numbers(response: httpx.Response) -> list[int]:
    """Which alerts were answered, by number."""
    assert response.status_code == 200, response.text
    answer = PastAlerts.model_validate(response.json())
    assert answer.count == len(answer.alerts)
    return [int(alert.id.partition("-")[2]) for alert in answer.alerts]


def at(number: int) -> str:
    return rfc3339(FIRST + number * MINUTE)


async def test_alerts_come_newest_first_with_the_payloads_of_the_streams(api: Rest) -> None:
    await keep(api)
    response = await api.get(PATH)
    assert numbers(response) == [4, 3, 2, 1, 0]
    rows = b",".join(
        b'{"id":"%s","type":"%s",%s' % (alert.id.encode(), alert.type.encode(), alert.data[1:]) for alert in ALERTS[::-1]
    )
    assert response.content == b'{"count":5,"alerts":[%s],"next":null}' % rows


async def test_without_any_alert(api: Rest) -> None:
    assert (await api.get(PATH)).json() == {"count": 0, "alerts": [], "next": None}


async def test_every_filter(api: Rest) -> None:
    await keep(api)
    table: list[tuple[dict[str, Query], list[int]]] = [
        ({"pair": "EUR_USD"}, [4, 1, 0]),
        ({"pair": "gbp/usd"}, [3, 1]),
        ({"pair": "GBP_USD, USD_JPY"}, [4, 3, 2, 1]),
        ({"pair": ["GBP_USD", "USD_JPY"]}, [4, 3, 2, 1]),
        ({"pair": "AUD_USD"}, []),
        ({"type": "price_alert"}, [2]),
        ({"type": ["price_alert", "volatility_alert,correlation_alert"]}, [4, 3, 2, 1, 0]),
        ({"severity": "info"}, [4, 2, 0]),
        ({"severity": "warning,critical"}, [3, 1]),
        ({"start_time": at(1), "end_time": at(3)}, [2, 1]),
        ({"start_time": at(3)}, [4, 3]),
        ({"end_time": str(int((FIRST + MINUTE).timestamp()))}, [0]),
        ({"before": cursor(3)}, [2, 1, 0]),
        ({"pair": "EUR_USD", "severity": "info", "type": "correlation_alert"}, [4]),
    ]
    for query, expected in table:
        assert numbers(await api.get(PATH, **query)) == expected, query


async def test_following_next_gives_every_alert_once(api: Rest) -> None:
    await keep(api)
    for limit in (1, 2, 4, 5, 6):
        response = await api.get(PATH, limit=limit)
        found = numbers(response)
        while (before := response.json()["next"]) is not None:
            response = await api.get(PATH, limit=limit, before=before)
            found += numbers(response)
        assert found == [4, 3, 2, 1, 0]


async def test_values_that_cannot_be_used(api: Rest) -> None:
    table: list[tuple[dict[str, Query], str]] = [
        ({"type": ""}, "type"),
        ({"type": "price_update"}, "type"),
        ({"type": ["price_alert", "x"]}, "type"),
        ({"severity": "info,"}, "severity"),
        ({"severity": "INFO"}, "severity"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"start_time": "2026-01-05T00:00:00"}, "start_time"),
        ({"end_time": "never"}, "end_time"),
        ({"start_time": at(3), "end_time": at(3)}, "end_time"),
    ]
    await assert_refused(api, PATH, table)
    for pair in ("", "XXX_YYY", "EUR_USD,"):
        assert_problem(await api.get(PATH, pair=pair), 400, "Invalid pair")
    for before in ("", "5", "1-2-3", f"{2**64}-0", "٣-٤"):
        assert_problem(await api.get(PATH, before=before), 400, "Invalid cursor")


async def test_without_the_database(valkey_url: str) -> None:
    async with without_database() as stores, rest(valkey_url, stores=stores) as api:
        assert_problem(await api.get(PATH), 503, "Database unavailable")


async def test_a_file_has_every_alert_newest_first(api: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts_router, "_MOST", 2)
    await keep(api)
    lines = (await api.get(PATH, format="csv")).text.splitlines()
    assert lines[0] == "time,type,pair1,pair2,severity,value,threshold,message,id"
    assert lines[1] == f"{at(4)},correlation_alert,USD_JPY,EUR_USD,info,0.12,0.1,café,{cursor(4)}"
    assert [line.rpartition(",")[2] for line in lines[1:]] == [cursor(number) for number in (4, 3, 2, 1, 0)]
    limited = (await api.get(PATH, format="ndjson", limit=1, severity="info", before=cursor(4))).text.splitlines()
    [line] = map(orjson.loads, limited)
    assert (line["id"], line["pair2"], line["value"]) == (cursor(2), None, 0.12)
