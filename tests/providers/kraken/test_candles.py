import itertools
import json
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.errors import NotOffered, SourceError
from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.pair import CurrencyPair
from app.providers.kraken.source import KrakenSource
from tests.providers.kraken.stub import NOON, KrakenStub, bar

_EUR_USD, _EUR_CHF = CurrencyPair("EUR", "USD"), CurrencyPair("EUR", "CHF")
_START = datetime.fromtimestamp(NOON, UTC)
_HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backoff._SHORTEST_LIMIT", 0.01)
    monkeypatch.setattr("app.providers.kraken.candles._BETWEEN_REQUESTS", 0.01)


async def _bars(
    kraken: KrakenStub,
    pair: CurrencyPair = _EUR_USD,
    granularity: Granularity = Granularity.H1,
    start: datetime = _START,
    end: datetime = _START + 1000 * _HOUR,
) -> list[Candle]:
    source = KrakenSource([pair], url=kraken.url, rest_url=kraken.rest_url)
    pages = [page async for page in source.fetch_candles(pair, granularity, start, end)]
    assert all(pages)
    return list(itertools.chain.from_iterable(pages))


async def test_bars_are_those_of_the_trades(kraken: KrakenStub) -> None:
    kraken.bars = [bar(NOON + 3600 * hour) for hour in range(3)]
    bars = await _bars(kraken)
    ohlc = Ohlc(Decimal("1.08400"), Decimal("1.08450"), Decimal("1.08390"), Decimal("1.08420"))
    assert bars[0] == Candle(_EUR_USD, Granularity.H1, _START, ohlc, ohlc, ohlc, 7, complete=True, source="kraken")
    assert [bar.time for bar in bars] == [_START, _START + _HOUR, _START + 2 * _HOUR]
    assert [bar.complete for bar in bars] == [True, True, False]


@pytest.mark.parametrize("granularity", sorted(KrakenSource.granularities))
async def test_each_length_is_asked_for_in_minutes(kraken: KrakenStub, granularity: Granularity) -> None:
    kraken.bars = [bar(NOON), bar(NOON + 3600)]
    assert [bar.granularity for bar in await _bars(kraken, _EUR_CHF, granularity)] == [granularity] * 2
    length = granularity.end(_START) - _START
    minutes = str(length // timedelta(minutes=1))
    assert kraken.bar_requests == [{"pair": "EURCHF", "interval": minutes, "since": str(NOON - 1)}]


async def test_bars_without_a_trade_are_none(kraken: KrakenStub) -> None:
    kraken.bars = [bar(NOON), bar(NOON + 3600, trades=0), bar(NOON + 7200), bar(NOON + 10800, trades=0)]
    bars = await _bars(kraken)
    assert [(bar.time, bar.complete) for bar in bars] == [(_START, True), (_START + 2 * _HOUR, True)]


async def test_bars_are_those_that_start_within_the_bounds(kraken: KrakenStub) -> None:
    kraken.bars = [bar(NOON + 3600 * hour) for hour in range(-2, 5)]
    bars = await _bars(kraken, start=_START, end=_START + 2 * _HOUR)
    assert [bar.time for bar in bars] == [_START, _START + _HOUR]
    bars = await _bars(kraken, start=_START + timedelta(seconds=1), end=_START + 2 * _HOUR + timedelta(seconds=1))
    assert [bar.time for bar in bars] == [_START + _HOUR, _START + 2 * _HOUR]


async def test_nothing_is_asked_of_the_future_or_of_no_time_at_all(kraken: KrakenStub) -> None:
    ahead = datetime.now(UTC) + timedelta(days=1)
    assert await _bars(kraken, start=ahead, end=ahead + _HOUR) == []
    assert await _bars(kraken, end=_START) == []
    assert kraken.bar_requests == []
    assert await _bars(kraken, start=datetime(1, 1, 1, tzinfo=UTC)) == []


async def test_more_than_the_last_720_bars_are_not_to_be_had(kraken: KrakenStub) -> None:
    kraken.bars = [bar(NOON + 60 * minute) for minute in range(800)]
    bars = await _bars(kraken, granularity=Granularity.M1)
    assert len(bars) == 720
    assert bars[0].time == _START + timedelta(minutes=80)


async def test_a_pair_that_is_not_listed_has_no_bars(kraken: KrakenStub) -> None:
    with pytest.raises(NotOffered, match="no bars of GBP_JPY: EQuery:Unknown asset pair"):
        await _bars(kraken, CurrencyPair("GBP", "JPY"))
    assert len(kraken.bar_requests) == 1


@pytest.mark.parametrize(
    "errors", ['["EGeneral:Invalid arguments"]', '["EQuery:Unknown asset pair","EGeneral:Permission denied"]']
)
async def test_any_other_refusal_says_nothing_of_what_is_listed(kraken: KrakenStub, errors: str) -> None:
    kraken.bar_failures = [(200, f'{{"error":{errors}}}')]
    with pytest.raises(SourceError, match="no bars of EUR_USD: E") as failure:
        await _bars(kraken)
    assert not isinstance(failure.value, NotOffered)


async def test_longer_bars_are_not_offered(kraken: KrakenStub) -> None:
    with pytest.raises(NotOffered, match="no D bars"):
        await _bars(kraken, granularity=Granularity.D)
    assert kraken.bar_requests == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, '{"error":["EGeneral:Too many requests"]}'),
        (200, '{"error":["EService:Unavailable"]}'),
        (200, '{"error":["EAPI:Rate limit exceeded"]}'),
        (200, '{"error":[]}'),
        (429, ""),
        (503, "<html>"),
        (500, ""),
        (200, "<html>"),
        (403, "<html>"),
    ],
)
async def test_a_failure_that_may_pass_is_asked_again(kraken: KrakenStub, status: int, body: str) -> None:
    kraken.bars = [bar(NOON), bar(NOON + 3600)]
    kraken.bar_failures = [(status, body)] * 2
    assert len(await _bars(kraken)) == 2
    assert len(kraken.bar_requests) == 3


async def test_what_is_asked_in_vain_is_given_up(kraken: KrakenStub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    kraken.bar_failures = [(503, "")] * 100
    with pytest.raises(SourceError, match="does not answer in 5 attempts: status 503"):
        await _bars(kraken)
    assert len(kraken.bar_requests) == 5
    await kraken.go_down()
    with pytest.raises(SourceError, match=r"does not answer in 5 attempts: cannot connect: .*Connect call failed"):
        await _bars(kraken)
    await kraken.come_up()


@pytest.mark.parametrize(
    "row",
    [
        [],
        "bar",
        bar(NOON)[:7],
        bar(NOON, close="1.08460"),
        bar(NOON, close="1.08380"),
        bar(NOON, close="-1"),
        bar(NOON, close="NaN"),
        bar(NOON, trades=-1),
        bar(NOON + 60),
        bar(-3600),
        bar(3600 * 10**30),
        [str(NOON), *bar(NOON)[1:]],
        [True, *bar(NOON)[1:]],
        [*bar(NOON)[:7], "7"],
    ],
)
async def test_bars_that_cannot_be_read_are_an_error(kraken: KrakenStub, row: object) -> None:
    body = json.dumps({"error": [], "result": {"ZEURZUSD": [row, bar(NOON + 3600)], "last": NOON}})
    kraken.bar_failures = [(200, body)]
    with pytest.raises(SourceError, match="H1 bars of EUR_USD that cannot be read"):
        await _bars(kraken)


@pytest.mark.parametrize("result", ['{"last":1}', '{"A":[],"B":[]}', '{"A":{},"last":1}'])
async def test_a_result_that_is_no_list_of_bars_is_an_error(kraken: KrakenStub, result: str) -> None:
    kraken.bar_failures = [(200, f'{{"error":[],"result":{result}}}')]
    with pytest.raises(SourceError, match="no list of bars"):
        await _bars(kraken)


async def test_bars_out_of_order_are_an_error(kraken: KrakenStub) -> None:
    kraken.bars = [bar(NOON + 3600), bar(NOON), bar(NOON + 7200)]
    with pytest.raises(SourceError, match="not in order of time"):
        await _bars(kraken)


async def test_an_answer_that_is_too_long_is_an_error(kraken: KrakenStub) -> None:
    kraken.bar_failures = [(200, " " * 2_000_000)]
    with pytest.raises(SourceError, match="more than 1000000 bytes"):
        await _bars(kraken)


async def test_a_proxy_that_cannot_be_used_is_an_error_that_does_not_name_it(
    kraken: KrakenStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "socks9://user:secret@127.0.0.1:1")
    with pytest.raises(SourceError, match="proxies or certificates") as failure:
        await _bars(kraken)
    assert "secret" not in str(failure.value)
