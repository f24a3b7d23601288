import asyncio
import itertools
import json
import logging

import pytest

from app.errors import SourceError
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.providers.kraken.source import KrakenSource
from tests.providers.kraken.reading import KrakenReading, kraken_reading
from tests.providers.kraken.stub import KrakenStub, kraken_stub
from tests.waiting import wait_until

_AN_HOUR_AHEAD = "2126-01-30T13:00:00Z"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.backoff._SHORTEST_LIMIT", 0.05)


def _bids(reading: KrakenReading, name: str = "EUR_USD") -> list[str]:
    return [str(quote.bid) for quote in reading.of(name)]


async def test_a_stream_that_breaks_off_is_resumed_without_repeats(kraken: KrakenStub) -> None:
    async with kraken_reading(kraken, ["EUR_USD", "USD_JPY"]) as reading:
        await kraken.quote("EUR/USD", "1.0841", "1.0842")
        await kraken.quote("USD/JPY", "155.12", "155.20")
        await reading.until(2)
        asked = kraken.subscriptions[:]
        kraken.drop()
        await wait_until(lambda: kraken.opened == 2, "another connection")
        await reading.passed_over("repeated", 2)
        await kraken.quote("EUR/USD", "1.0843", "1.0844")
        await reading.until(3)
    assert _bids(reading) == ["1.0841", "1.0843"]
    assert _bids(reading, "USD_JPY") == ["155.12"]
    assert kraken.subscriptions == asked * 2


async def test_what_changed_meanwhile_comes_with_the_new_connection(kraken: KrakenStub) -> None:
    async with kraken_reading(kraken) as reading:
        await kraken.quote("EUR/USD", "1.0841", "1.0842")
        await reading.until(1)
        await kraken.go_down()
        await kraken.quote("EUR/USD", "1.0843", "1.0844")
        await kraken.come_up()
        await reading.until(2)
    assert _bids(reading) == ["1.0841", "1.0843"]


async def test_a_cross_is_quoted_again_after_a_reconnect_where_only_one_leg_has_changed(kraken: KrakenStub) -> None:
    async with kraken_reading(kraken, ["GBP_JPY"]) as reading:
        await kraken.quote("GBP/USD", "1.3000", "1.3002")
        await kraken.quote("USD/JPY", "155.12", "155.20")
        await wait_until(lambda: kraken.is_subscribed("GBP/USD", "USD/JPY"), "the legs are subscribed to")
        await reading.until(1)
        kraken.drop()
        await wait_until(lambda: kraken.opened == 2, "another connection")
        await wait_until(lambda: kraken.is_subscribed("GBP/USD", "USD/JPY"), "the legs are subscribed to")
        await kraken.quote("USD/JPY", "155.13", "155.20")
        await reading.until(2)
    assert _bids(reading, "GBP_JPY") == ["201.656", "201.669"]


async def test_a_stream_that_stalls_is_connected_anew(kraken: KrakenStub, caplog: pytest.LogCaptureFixture) -> None:
    async with kraken_reading(kraken, silence=0.4) as reading:
        assert not reading.source.silent
        kraken.stalled = True
        await wait_until(lambda: reading.source.silent, "the source knows that it is silent")
        await wait_until(lambda: kraken.opened > 1, "another connection")
        kraken.stalled = False
        kraken.drop()
        await wait_until(lambda: kraken.is_subscribed("EUR/USD"), "the pair is subscribed to")
        await kraken.quote("EUR/USD", "1.0841", "1.0842")
        await reading.until(1)
        await wait_until(lambda: not reading.source.silent, "the source knows that it is back")
    assert "no prices from Kraken: no message for 0.4 s" in caplog.text


async def test_heartbeats_are_enough_to_stay_connected(kraken: KrakenStub) -> None:
    async with kraken_reading(kraken, silence=1):
        started = asyncio.get_running_loop().time()
        await wait_until(lambda: asyncio.get_running_loop().time() - started > 2.2, "more than twice the silence")
        assert kraken.opened == 1


async def test_nothing_but_garbage_is_silence(kraken: KrakenStub) -> None:
    async with kraken_reading(kraken, silence=0.3) as reading:
        kraken.heartbeat = 60
        opened = kraken.opened

        async def talk() -> None:
            while True:
                await kraken.say("garbage")
                await asyncio.sleep(0.01)

        talking = asyncio.create_task(talk())
        await wait_until(lambda: kraken.opened > opened, "another connection")
        talking.cancel()
        assert reading.source.passed_over.counts["malformed"] > 1


@pytest.mark.parametrize(
    "message",
    [
        "garbage",
        "",
        "[1,2,3]",
        "\xff",
        b"\xff\xfe",
        "[" * 100_000,
        '{"channel":"ticker"}',
        '{"channel":"ticker","data":{}}',
        '{"channel":"ticker","data":[1]}',
        '{"channel":"instrument","type":"update","data":[]}',
        '{"channel":"instrument","type":"update","data":{"pairs":[{"symbol":7}]}}',
        '{"channel":"status","data":null}',
        '{"channel":"ticker","data":[{"symbol":"EUR/USD","bid":1e99999999999999999999,"ask":1}]}',
    ],
)
async def test_a_message_that_cannot_be_read_is_counted_and_passed_over(kraken: KrakenStub, message: str | bytes) -> None:
    async with kraken_reading(kraken) as reading:
        await kraken.say(message)
        await reading.passed_over("malformed")
        await kraken.quote("EUR/USD", "1.0841", "1.0842")
        await reading.until(1)
    assert (_bids(reading), kraken.opened) == (["1.0841"], 1)
    assert reading.source.passed_over.counts["malformed"] == 1


_GOOD = {"symbol": "EUR/USD", "bid": 1.0841, "ask": 1.0842, "timestamp": "2026-01-30T12:00:00Z"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"bid": 0}, "malformed"),
        ({"bid": -1.0841}, "malformed"),
        ({"bid": None}, "malformed"),
        ({"bid": True}, "malformed"),
        ({"bid": float("nan")}, "malformed"),
        ({"ask": float("inf")}, "malformed"),
        ({"ask": 10**30}, "malformed"),
        ({"ask": "much"}, "malformed"),
        ({"ask": []}, "malformed"),
        ({"symbol": None}, "malformed"),
        ({"timestamp": "noon"}, "malformed"),
        ({"timestamp": "2026-01-30T12:00:00"}, "malformed"),
        ({"timestamp": "0001-01-01T00:00:00+10:00"}, "malformed"),
        ({"timestamp": 1769774400}, "malformed"),
        ({"timestamp": _AN_HOUR_AHEAD}, "from the future"),
        ({"bid": 1.0843}, "crossed"),
        ({"symbol": "ETH/EUR"}, "other instrument"),
    ],
)
async def test_a_ticker_that_is_no_price_does_not_spoil_those_beside_it(
    kraken: KrakenStub, change: dict[str, object], reason: str
) -> None:
    async with kraken_reading(kraken) as reading:
        await kraken.say(json.dumps({"channel": "ticker", "type": "update", "data": [{**_GOOD, **change}, _GOOD]}))
        await reading.until(1)
    assert (_bids(reading), reading.source.passed_over.counts) == (["1.0841"], {reason: 1})


async def test_quotes_out_of_order_are_passed_over(kraken: KrakenStub) -> None:
    async with kraken_reading(kraken, ["EUR_USD", "USD_JPY"]) as reading:
        for seconds, bid in [(10, "1.10"), (9, "1.09"), (10, "1.10"), (10, "1.11"), (8, "1.08"), (11, "1.12")]:
            await kraken.quote("EUR/USD", bid, "1.2", f"2026-01-30T12:00:{seconds:02}Z")
        await kraken.quote("USD/JPY", "155.1", "155.2", "2026-01-30T12:00:00Z")
        await reading.until(4)
    assert _bids(reading) == ["1.10", "1.11", "1.12"]
    assert reading.source.passed_over.counts == {"out of order": 2, "repeated": 1}
    times = [quote.time for quote in reading.of("EUR_USD")]
    assert all(one <= other <= utc_now() for one, other in itertools.pairwise(times))


async def test_unknown_channels_are_passed_over(kraken: KrakenStub) -> None:
    async with kraken_reading(kraken) as reading:
        await kraken.say('{"channel":"weather","type":"update","data":[{"sun":true}]}')
        await kraken.say('{"method":"pong","req_id":7}')
        await kraken.say('{"event":"systemStatus"}')
        await kraken.quote("EUR/USD", "1.0841", "1.0842")
        await reading.until(1)
    assert reading.source.passed_over.counts == {"unknown channel": 2}
    assert kraken.opened == 1


async def test_a_message_that_is_too_large_costs_the_connection_only(
    kraken: KrakenStub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.providers.kraken.stream._LARGEST_MESSAGE", 20_000)
    async with kraken_reading(kraken) as reading:
        await kraken.say(json.dumps({"channel": "ticker", "data": ["x" * 30_000]}))
        await wait_until(lambda: kraken.opened == 2, "another connection")
        await wait_until(lambda: kraken.is_subscribed("EUR/USD"), "the pair is subscribed to")
        await kraken.quote("EUR/USD", "1.0841", "1.0842")
        await reading.until(1)
    assert "message too big" in caplog.text


async def test_a_list_that_is_refused_or_never_comes_is_asked_for_again(
    kraken: KrakenStub, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("app.providers.kraken.source._LISTS_WITHIN", 0.3)
    kraken.list_error = "Exceeded msg rate"
    running = asyncio.create_task(anext(KrakenSource([CurrencyPair("EUR", "USD")], url=kraken.url).quotes()))
    await wait_until(lambda: kraken.opened > 1, "another connection")
    kraken.list_error, kraken.lists = "", False
    await wait_until(lambda: "no list of what is traded within 0.3 s" in caplog.text, "the list is missed")
    kraken.lists = True
    await wait_until(lambda: kraken.is_subscribed("EUR/USD"), "the pair is subscribed to")
    await kraken.quote("EUR/USD", "1.0841", "1.0842")
    await asyncio.wait_for(running, 10)
    assert "the list of what is traded is refused: Exceeded msg rate" in caplog.text


async def test_a_source_waits_for_a_server_that_is_not_there(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with kraken_stub() as kraken:
        await kraken.go_down()
        running = asyncio.create_task(anext(KrakenSource([CurrencyPair("EUR", "USD")], url=kraken.url).quotes()))
        await wait_until(lambda: caplog.text.count("cannot connect") > 1, "two attempts")
        await kraken.quote("EUR/USD", "1.0841", "1.0842")
        await kraken.come_up()
        quote = await asyncio.wait_for(running, 10)
    assert quote.source == "kraken"


async def test_a_proxy_that_cannot_be_used_is_an_error_that_does_not_name_it(
    kraken: KrakenStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "socks9://user:secret@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(SourceError, match="proxies that the environment names") as failure:
        await anext(KrakenSource([CurrencyPair("EUR", "USD")], url=kraken.url).quotes())
    assert "secret" not in str(failure.value)
    assert failure.value.__cause__ is None
