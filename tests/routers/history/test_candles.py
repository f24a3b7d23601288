"""Bars: which ones, in what order, at which precision, and where they go on."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.clock import parse_time, rfc3339
from app.market.measures.measures import measure
from app.routers.history.candles import Bars
from tests.routers.running import (
    FIRST,
    Query,
    Rest,
    application,
    assert_problem,
    assert_refused,
    bars,
    rest,
    rest_for_examples,
    status_of,
    without_database,
)

HOUR = timedelta(hours=1)
PATH = "/api/v1/candles/EUR_USD"


async def page(api: Rest, path: str = PATH, **query: Query) -> dict[str, Any]:
    """A page of bars, checked against its model."""
    response = await api.get(path, **query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    body: dict[str, Any] = response.json()
    Bars.model_validate(body)
    assert body["count"] == len(body["candles"])
    return body


def starts(body: dict[str, Any]) -> list[datetime]:
    return [parse_time(bar["time"]) for bar in body["candles"]]


def times(candles: Sequence[Candle]) -> list[datetime]:
    return [candle.time for candle in candles]


async def test_the_last_day_of_hours_is_what_is_given_by_default(api: Rest) -> None:
    hours = bars(count=30)
    await api.gateway.stores.candles.write(hours)
    body = await page(api)
    assert await page(api, "/api/v1/candles/eurusd") == body
    assert (body["instrument"], body["granularity"], body["count"]) == ("EUR_USD", "H1", 24)
    assert starts(body) == times(hours[6:])
    last, told = hours[-1], body["candles"][-1]
    assert list(told) == ["time", "granularity", "complete", "bid", "mid", "ask", "volume", "source"]
    assert (told["granularity"], told["complete"], told["volume"], told["source"]) == ("H1", True, 12, "oanda")
    for name, prices in (("bid", last.bid), ("mid", last.mid), ("ask", last.ask)):
        assert told[name] == {
            "o": str(prices.open), "h": str(prices.high), "l": str(prices.low), "c": str(prices.close)
        }  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "stored", "side", "mid"),
    [
        ("EUR_USD", "1.0000", "1.00000", "1.00000"),
        ("EUR_USD", "1.000025", "1.00002", "1.000025"),
        ("EUR_USD", "1.0000250", "1.00002", "1.000025"),
        ("EUR_USD", "1.00002049", "1.00002", "1.00002"),
        ("USD_JPY", "151.2455", "151.246", "151.2455"),
    ],
)
async def test_prices_are_decimal_strings_and_mids_have_a_digit_more(
    api: Rest, pair: str, stored: str, side: str, mid: str
) -> None:
    [bar] = bars(pair)
    prices = Ohlc.of(Decimal(stored))
    await api.gateway.stores.candles.write([replace(bar, bid=prices, mid=prices, ask=prices)])
    [told] = (await page(api, f"/api/v1/candles/{pair}"))["candles"]
    assert told["mid"] == dict.fromkeys("ohlc", mid)
    assert told["bid"] == told["ask"] == dict.fromkeys("ohlc", side)


async def test_measures_computed_from_the_mids_are_exactly_those_of_the_gateway(api: Rest) -> None:
    series = bars("EUR_USD", 300)
    half = Decimal("0.000005")
    odd = [
        replace(bar, mid=Ohlc(*(price + half for price in (bar.mid.open, bar.mid.high, bar.mid.low, bar.mid.close))))
        for bar in series
    ]
    await api.gateway.stores.candles.write(odd)
    told = (await page(api, "/api/v1/candles/EUR_USD", limit=300, price="M"))["candles"]
    read = [replace(bar, mid=Ohlc(*(Decimal(row["mid"][name]) for name in "ohlc"))) for bar, row in zip(odd, told, strict=True)]
    assert measure(read) == measure(odd)


@pytest.mark.parametrize(("pair", "shown"), [("EUR_USD", "1.000025"), ("EUR_USD", "1.00002"), ("USD_JPY", "151.2455")])
async def test_prices_are_decimal_strings_at_the_precision_of_the_pair_and_mids_half_a_step_finer(
    api: Rest, pair: str, shown: str
) -> None:
    [bar] = bars(pair)
    for stored in (Decimal(shown), Decimal(shown + "0"), Decimal(shown) + Decimal("1e-12")):
        await api.gateway.stores.candles.write([replace(bar, mid=Ohlc.of(stored), bid=Ohlc.of(Decimal("1.5")))])
        [told] = (await page(api, f"/api/v1/candles/{pair}"))["candles"]
        assert told["mid"] == dict.fromkeys("ohlc", shown)
        assert told["bid"] == dict.fromkeys("ohlc", "1.500" if pair == "USD_JPY" else "1.50000")


async def test_every_granularity_and_the_trading_day_of_the_long_ones(api: Rest) -> None:
    days = {"D": ["2026-01-05", "2026-01-06", "2026-01-07"], "W": ["2026-01-09", "2026-01-16", "2026-01-23"],
            "M": ["2026-01-31", "2026-02-28", "2026-03-31"]}  # fmt: skip
    for granularity in Granularity:
        start = granularity.start(FIRST)
        await api.gateway.stores.candles.write(bars(count=3, granularity=granularity, start=start))
        body = await page(api, granularity=granularity)
        assert (body["granularity"], body["count"], starts(body)[0]) == (granularity, 3, start)
        assert [bar.get("trading_day") for bar in body["candles"]] == days.get(granularity, [None] * 3)
        assert all(("trading_day" in bar) is (granularity in days) for bar in body["candles"])


async def test_only_the_prices_asked_for(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars())
    expected = {"M": ["mid"], "BA": ["bid", "ask"], "AB": ["bid", "ask"], "AMB": ["bid", "mid", "ask"], "A": ["ask"]}
    for price, names in expected.items():
        [bar] = (await page(api, price=price))["candles"]
        assert [name for name in bar if name in ("bid", "mid", "ask")] == names


# ---------------------------------------------------------------- times and paging


STRETCHES = [
    ("2026-01-05T02:00:00Z", "2026-01-05T05:00:00Z", [2, 3, 4]),
    ("2026-01-05T02:00:00.000001Z", "2026-01-05T05:00:00.000001Z", [3, 4, 5]),
    ("2026-01-05T03:00:00+01:00", "2026-01-04T22:00:00-07:00", [2, 3, 4]),
    ("1767578400", "1767589200.0", [2, 3, 4]),
    ("2026-01-05t02:00:00z", "2026-01-05 05:00:00.000-00:00", [2, 3, 4]),
    ("2026-01-05", "2026-01-06", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ("1767578400.5", None, [3, 4, 5, 6, 7, 8, 9]),
    (None, "2026-01-05T03:00:00Z", [0, 1, 2]),
]


async def test_times_are_half_open_and_may_have_an_offset_or_be_seconds(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars(count=10))
    for start, end, expected in STRETCHES:
        query: dict[str, Query] = {name: text for name, text in (("start_time", start), ("end_time", end)) if text is not None}
        body = await page(api, PATH, **query)
        assert starts(body) == [FIRST + number * HOUR for number in expected]


async def test_without_a_start_the_last_bars_before_the_end(api: Rest) -> None:
    hours = bars(count=10)
    await api.gateway.stores.candles.write(hours)
    assert starts(await page(api, limit=3)) == times(hours[-3:])
    assert starts(await page(api, limit=3, end_time=rfc3339(hours[5].time))) == times(hours[2:5])


async def test_following_next_gives_every_bar_once(api: Rest) -> None:
    hours = [bar for bar in bars(count=14) if bar.time.hour not in (4, 5, 9, 13)]  # with holes, as at a weekend
    await api.gateway.stores.candles.write(hours)
    for limit in (1, 2, 3, 7, 10, 11, 5000):
        body = await page(api, limit=limit, start_time=rfc3339(FIRST))
        found = starts(body)
        while body["next"] is not None:
            assert body["count"] == limit
            body = await page(api, limit=limit, start_time=body["next"])
            found += starts(body)
        assert found == times(hours)


async def test_a_page_that_ends_where_the_time_does_has_no_next(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars(count=10))
    start, end = rfc3339(FIRST), rfc3339(FIRST + 3 * HOUR)
    assert (await page(api, start_time=start, end_time=end, limit=3))["next"] is None
    assert (await page(api, start_time=start, end_time=end, limit=2))["next"] == rfc3339(FIRST + 2 * HOUR)


async def test_without_a_start_next_is_where_live_bars_go_on(api: Rest) -> None:
    hours = bars(count=3, unfinished=True)
    await api.gateway.stores.candles.write(hours[:2])
    assert (await page(api))["next"] == rfc3339(hours[1].end)
    assert (await page(api, start_time=rfc3339(hours[1].end)))["candles"] == []
    await api.gateway.stores.candles.write(hours[2:])
    body = await page(api)
    assert [bar["complete"] for bar in body["candles"]] == [True, True, False]
    assert body["next"] == rfc3339(hours[2].time)
    await api.gateway.stores.candles.write([replace(hours[2], complete=True, volume=40)])
    [finished] = (await page(api, start_time=body["next"]))["candles"]
    assert (finished["complete"], finished["volume"]) == (True, 40)


async def test_a_page_as_long_as_can_be_is_whole(api: Rest) -> None:
    minutes = bars(count=5001, granularity=Granularity.M1)
    await api.gateway.stores.candles.write(minutes)
    body = await page(api, granularity="M1", limit=5000)
    assert starts(body) == times(minutes[1:])
    body = await page(api, granularity="M1", limit=5000, start_time="0")
    assert starts(body) == times(minutes[:-1])
    assert body["next"] == rfc3339(minutes[-1].time)


# ---------------------------------------------------------------- what cannot be answered


WRONG: list[tuple[dict[str, Query], str]] = [
    ({"granularity": "H2"}, "granularity"),
    ({"granularity": "h1"}, "granularity"),
    ({"granularity": ""}, "granularity"),
    ({"limit": 0}, "limit"),
    ({"limit": -1}, "limit"),
    ({"limit": 5001}, "limit"),
    ({"limit": "2.5"}, "limit"),
    ({"limit": ""}, "limit"),
    ({"price": ""}, "price"),
    ({"price": "X"}, "price"),
    ({"price": "MBAM"}, "price"),
    ({"price": "MM"}, "price"),
    ({"price": "mba"}, "price"),
    ({"start_time": ""}, "start_time"),
    ({"start_time": "yesterday"}, "start_time"),
    ({"start_time": "2026-1-5"}, "start_time"),
    ({"start_time": "2026-02-30"}, "start_time"),
    ({"start_time": "2026-01-05T00:00:00"}, "start_time"),
    ({"start_time": "2026-01-05T00:00:00 01:00"}, "start_time"),
    ({"start_time": "2026-13-05T00:00:00Z"}, "start_time"),
    ({"start_time": "1e9"}, "start_time"),
    ({"start_time": "2026-W02-1T00:00:00Z"}, "start_time"),
    ({"start_time": "20260105T000000Z"}, "start_time"),
    ({"start_time": "2026-02-30T00:00:00Z"}, "start_time"),
    ({"start_time": "2026-01-05T24:00:00Z"}, "start_time"),
    ({"start_time": "2026-01-05x00:00:00Z"}, "start_time"),
    ({"start_time": "٣"}, "start_time"),
    ({"start_time": "9" * 12}, "start_time"),
    ({"start_time": "0001-01-01T00:00:00+14:00"}, "start_time"),
    ({"end_time": "2026-01-05T00:00:00"}, "end_time"),
    ({"end_time": "9999-12-31T23:59:59-14:00"}, "end_time"),
    ({"start_time": "1767571200", "end_time": "2026-01-05T00:00:00Z"}, "end_time"),
    ({"start_time": "1767571201", "end_time": "1767571200"}, "end_time"),
]


async def test_values_that_cannot_be_used(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars())
    await assert_refused(api, PATH, WRONG)


async def test_a_pair_that_is_none(api: Rest) -> None:
    for instrument in ("XXX_YYY", "EUR_NOK", "1", "EUR-USD"):
        assert_problem(await api.get(f"/api/v1/candles/{instrument}"), 400, "Invalid pair")


async def test_where_there_are_no_bars(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars())
    assert assert_problem(await api.get(PATH, granularity="D"), 404, "No data")["detail"] == "No D bars of EUR_USD are stored"
    assert_problem(await api.get("/api/v1/candles/USD_JPY"), 404, "No data")


async def test_an_interval_without_bars_is_an_empty_list(api: Rest) -> None:
    await api.gateway.stores.candles.write(bars())
    for query in ({"end_time": "2026-01-05T00:00:00Z"}, {"start_time": "2026-01-06"}, {"start_time": "0", "end_time": "1"}):
        body = await page(api, PATH, **query)
        assert (body["candles"], body["next"]) == ([], None)


async def test_a_parameter_that_is_not_known_is_refused(api: Rest) -> None:
    body = assert_problem(await api.get(PATH, granularty="D"), 422, "Unknown parameter")
    assert body["error"] == (
        "Unknown parameter: granularty; the parameters are end_time, format, granularity, limit, price, start_time"
    )


async def test_without_the_database(valkey_url: str) -> None:
    async with without_database() as stores, rest(valkey_url, stores=stores) as api:
        assert_problem(await api.get(PATH), 503, "Database unavailable")


async def test_before_the_database_has_its_tables(valkey_url: str) -> None:
    async with rest(valkey_url, migrated=lambda: False) as api:
        assert_problem(await api.get(PATH), 503, "Database unavailable", detail="The database has not answered yet")


@pytest.mark.usefixtures("untraced_test")
def test_no_query_is_an_internal_error(valkey_url: str) -> None:
    texts = st.one_of(
        st.text(max_size=30),
        st.sampled_from(["M1", "D", "MBA", "A", "24"]),
        st.integers(-(10**13), 10**13).map(str),
        st.datetimes(timezones=st.just(UTC)).map(lambda time: time.isoformat()),
    )
    names = st.sampled_from(["granularity", "limit", "start_time", "end_time", "price", "end", "bars", "window"])
    with rest_for_examples(valkey_url) as (api, run):
        run(api.gateway.stores.candles.write(bars(count=3)))
        app = application(api.gateway)

        @settings(max_examples=100)
        @given(query=st.dictionaries(names, texts), raw=st.binary(max_size=40))
        def check(query: dict[str, str], raw: bytes) -> None:
            for path in (PATH, "/api/v1/metrics/volatility/EUR_USD", "/api/v1/correlation/matrix"):
                assert run(api.get(path, **query)).status_code in (200, 400, 404, 422)
                assert run(status_of(app, path=path, query_string=raw)) in (200, 400, 404, 422)

        check()
