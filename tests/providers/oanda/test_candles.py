import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile

import pytest

from app.errors import NotOffered, SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.bars.history import CandleSource
from app.market.clock import parse_time, utc_now
from app.market.pair import CurrencyPair
from tests.providers.oanda.stub import OandaStub
from tests.providers.oanda.stub_market import Json, bar_starts, candles
from tests.providers.oanda.stub_running import source_at
from tests.providers.oanda.stub_stream import Failure

_EUR_USD = CurrencyPair.parse("EUR_USD")


async def _pages(stub: OandaStub, granularity: Granularity, start: datetime, end: datetime) -> list[list[Candle]]:
    source: CandleSource = source_at(stub)
    return [list(page) async for page in source.fetch_candles(_EUR_USD, granularity, start, end)]


def _expected(granularity: Granularity, start: datetime, end: datetime) -> list[Json]:
    rows = takewhile(lambda row: _time(row) < end, candles("EUR_USD", granularity.value, start, "MBA", first=True))
    return [row for row in rows if _time(row) >= start]


def _time(row: Json) -> datetime:
    return parse_time(str(row["time"]))


def _as_json(candle: Candle) -> Json:
    sides = {"bid": candle.bid, "mid": candle.mid, "ask": candle.ask}
    return {
        "complete": candle.complete,
        "volume": candle.volume,
        "time": f"{candle.time:%Y-%m-%dT%H:%M:%S}.000000000Z",
        **{name: {"o": str(s.open), "h": str(s.high), "l": str(s.low), "c": str(s.close)} for name, s in sides.items()},
    }


@pytest.mark.parametrize("most", [5000, 4999, 700])
async def test_bars_come_page_by_page_without_one_lost_or_repeated(stub: OandaStub, most: int) -> None:
    stub.knobs.most_bars = most
    start, end = datetime(2024, 3, 4, 0, 0, tzinfo=UTC), datetime(2024, 3, 17, 23, 30, tzinfo=UTC)
    pages = await _pages(stub, Granularity.M1, start, end)
    assert len(pages) >= 3
    assert max(map(len, pages)) <= most
    bars = [bar for page in pages for bar in page]
    assert [_as_json(bar) for bar in bars] == _expected(Granularity.M1, start, end)
    assert all(earlier.time < later.time for earlier, later in pairwise(bars))
    assert {(bar.pair, bar.granularity, bar.source, bar.complete) for bar in bars} == {(_EUR_USD, Granularity.M1, "oanda", True)}
    asked = stub.requests[0].query
    assert {name: asked[name] for name in ("price", "granularity", "dailyAlignment", "alignmentTimezone", "weeklyAlignment")} == {
        "price": "MBA", "granularity": "M1", "dailyAlignment": "17", "alignmentTimezone": "America/New_York",
        "weeklyAlignment": "Friday",
    }  # fmt: skip
    assert [request.query["includeFirst"] for request in stub.requests[:3]] == ["true", "false", "false"]


@pytest.mark.parametrize("granularity", list(Granularity))
async def test_bars_of_every_length_are_where_the_gateway_has_its_own(stub: OandaStub, granularity: Granularity) -> None:
    # Clocks in New York go forward on 10 March and back on 3 November.
    start, end = datetime(2024, 3, 7, tzinfo=UTC), datetime(2024, 3, 12, tzinfo=UTC)
    if granularity in {Granularity.H4, Granularity.D, Granularity.W, Granularity.M}:
        end = datetime(2024, 11, 12, tzinfo=UTC)
    bars = [bar for page in await _pages(stub, granularity, start, end) for bar in page]
    assert [_as_json(bar) for bar in bars] == _expected(granularity, start, end)
    assert len(bars) >= 7
    assert all(bar.time == granularity.start(bar.time) for bar in bars)


async def test_the_bounds_are_those_of_starts(stub: OandaStub) -> None:
    day = datetime(2024, 3, 6, tzinfo=UTC)
    [bars] = await _pages(stub, Granularity.H1, day + timedelta(minutes=1), day + timedelta(hours=3))
    assert [bar.time.hour for bar in bars] == [1, 2]
    [bars] = await _pages(stub, Granularity.H1, day, day + timedelta(hours=2, minutes=1))
    assert [bar.time.hour for bar in bars] == [0, 1, 2]
    assert all(int(request.query["count"]) <= 5 for request in stub.requests)


async def test_there_are_no_bars_in_a_weekend(stub: OandaStub) -> None:
    friday = datetime(2024, 3, 8, 22, tzinfo=UTC)
    assert await _pages(stub, Granularity.H1, friday, friday + timedelta(days=1)) == []
    [bars] = await _pages(stub, Granularity.H1, friday - timedelta(hours=1), friday + timedelta(days=2))
    assert [bar.time for bar in bars] == [friday - timedelta(hours=1), friday + timedelta(hours=47)]


async def test_nothing_since_then_is_no_bars(stub: OandaStub) -> None:
    stub.knobs.rest_failures.append(Failure(200, b'{"candles":[]}'))
    assert await _pages(stub, Granularity.H1, utc_now() - timedelta(hours=3), utc_now()) == []
    assert len(stub.requests) == 1


async def test_a_long_hole_at_the_start_of_a_page_is_passed(stub: OandaStub) -> None:
    friday = datetime(2024, 3, 8, 21, 58, tzinfo=UTC)
    pages = await _pages(stub, Granularity.M1, friday, friday + timedelta(days=2, minutes=10))
    bars = [bar for page in pages for bar in page]
    assert [_as_json(bar) for bar in bars] == _expected(Granularity.M1, friday, friday + timedelta(days=2, minutes=10))


async def test_nothing_is_asked_of_the_future(stub: OandaStub) -> None:
    now = utc_now()
    end = now + timedelta(days=40)
    bars = [bar for page in await _pages(stub, Granularity.W, now - timedelta(days=30), end) for bar in page]
    starts = bar_starts("W", now)
    assert bars[-1].time in {next(starts), next(starts)}
    assert [bar.complete for bar in bars[-2:]] == [True, False]
    asked = len(stub.requests)
    assert await _pages(stub, Granularity.M1, now + timedelta(days=1), end) == []
    assert await _pages(stub, Granularity.M1, now, now) == []
    assert len(stub.requests) == asked


async def test_a_failure_between_pages_costs_no_bar(stub: OandaStub) -> None:
    start, end = datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 8, tzinfo=UTC)
    pages = []
    async for page in source_at(stub).fetch_candles(_EUR_USD, Granularity.M1, start, end):
        pages.append(page)
        stub.knobs.rest_failures.extend([Failure(502), Failure(504, b"{}")])
    assert [_as_json(bar) for page in pages for bar in page] == _expected(Granularity.M1, start, end)


async def test_a_pair_that_oanda_does_not_have_is_told(stub: OandaStub, caplog: pytest.LogCaptureFixture) -> None:
    stub.knobs.not_offered = {"EUR_USD"}
    with pytest.raises(NotOffered, match=r"^OANDA refuses the request: status 400, Invalid value specified for 'instrument'"):
        await _pages(stub, Granularity.H1, datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC))
    # Whoever asked decides whether that is worth a warning: it may be asked every hour.
    assert [record for record in caplog.records if record.name.startswith("app.")] == []


async def test_any_other_value_that_oanda_refuses_says_nothing_of_the_pair(stub: OandaStub) -> None:
    said = b'{"errorMessage":"Invalid value specified for \'from\'. Time is in the future"}'
    stub.knobs.rest_failures.append(Failure(400, said, "application/json"))
    with pytest.raises(SourceError, match="Time is in the future") as failure:
        await _pages(stub, Granularity.H1, datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC))
    assert not isinstance(failure.value, NotOffered)


_BAR: Json = next(candles("EUR_USD", "H1", datetime(2024, 3, 4, tzinfo=UTC), "MBA", first=True))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "bars of EUR_USD that cannot be read: no list of objects"),
        ([{**_BAR, "volume": None}], "cannot be read: no volume"),
        ([{**_BAR, "complete": "true"}], "cannot be read: no volume, or not known whether complete"),
        ([{**_BAR, "mid": None}], "cannot be read: no bid, mid or ask"),
        ([{**_BAR, "ask": {"o": "1", "h": "1", "l": "1"}}], "cannot be read: no price"),
        ([{**_BAR, "time": "1709510400"}], "cannot be read: no time"),
        ([_BAR, _BAR], "H1 bars of EUR_USD that are not in order of time"),
    ],
)
async def test_bars_that_cannot_be_read_are_told(stub: OandaStub, rows: object, message: str) -> None:
    stub.knobs.rest_failures.append(Failure(200, json.dumps({"candles": rows}).encode()))
    with pytest.raises(SourceError, match=message):
        await _pages(stub, Granularity.H1, datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC))


async def test_a_page_that_comes_again_is_told(stub: OandaStub) -> None:
    stub.knobs.rest_failures.extend([Failure(200, json.dumps({"candles": [_BAR]}).encode())] * 2)
    with pytest.raises(SourceError, match="not in order of time"):
        await _pages(stub, Granularity.H1, datetime(2024, 3, 4, tzinfo=UTC), datetime(2024, 3, 5, tzinfo=UTC))
