import asyncio
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app.market.quote import QuoteKind
from app.market.source import PriceSource
from app.providers.oanda.values import moment
from tests.providers.oanda.stub import TOKEN, OandaStub
from tests.providers.oanda.stub_market import INSTRUMENTS, Json, nine_digits, text
from tests.providers.oanda.stub_running import reading, source_at
from tests.providers.oanda.stub_stream import ACCOUNT, Ending, Failure, as_line
from tests.waiting import wait_until


@pytest.fixture
def quiet(stub: OandaStub) -> OandaStub:
    """A stand-in that says nothing of itself but the snapshot and heartbeats."""
    stub.knobs.prices = False
    return stub


def _price(nanoseconds: int, points: int = 120_000, name: str = "EUR_USD") -> Json:
    sides = {side: [{"price": text(name, points + offset), "liquidity": 1}] for side, offset in (("bids", 0), ("asks", 8))}
    return {"type": "PRICE", "instrument": name, "time": nine_digits(nanoseconds), **sides, "tradeable": True}


# ---------------------------------------------------------------- quotes


async def test_the_last_price_of_every_pair_comes_first_and_then_all_that_follow(stub: OandaStub) -> None:
    expected = dict(stub.market.last)
    source: PriceSource = source_at(stub, silence=30)
    async with asyncio.timeout(30), aclosing(source_at(stub, silence=30).quotes()) as quotes:
        first = [await anext(quotes) for _ in INSTRUMENTS]
        for quote in first:
            price = expected[quote.pair.name]
            assert f"bids': [{{'price': '{quote.bid}'" in str(price)
            assert f"asks': [{{'price': '{quote.ask}'" in str(price)
            assert f"{quote.time:%Y-%m-%dT%H:%M:%S.%f}" == str(price["time"])[:26]
            assert (quote.time.tzinfo, quote.source, quote.kind) == (UTC, "oanda", QuoteKind.QUOTED)
        assert [quote.pair.name for quote in first] == list(INSTRUMENTS)
        later = [await anext(quotes) for _ in range(50)]
    assert all(quote.time > first[0].time for quote in later)
    assert (source.name, source.simulated) == ("oanda", False)


async def test_one_stream_carries_all_pairs_and_the_token_only_in_its_header(stub: OandaStub) -> None:
    async with reading(source_at(stub, silence=30)) as got:
        await wait_until(lambda: len(got.quotes) > len(INSTRUMENTS), "quotes")
    request = stub.requests[-1]
    assert [request.server for request in stub.requests] == ["rest", "rest", "stream"]
    assert request.path == f"/v3/accounts/{ACCOUNT}/pricing/stream"
    assert request.query == {"instruments": ",".join(INSTRUMENTS), "snapshot": "true"}
    assert request.headers["accept-encoding"] == "identity"
    for request in stub.requests:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        assert request.headers["accept-datetime-format"] == "RFC3339"
        assert TOKEN not in request.target


async def test_prices_are_told_apart_by_the_nanosecond(quiet: OandaStub) -> None:
    source = source_at(quiet, silence=30)
    async with reading(source) as got:
        await wait_until(lambda: len(got.quotes) == len(INSTRUMENTS), "the snapshot")
        now = time.time_ns() // 1000 * 1000 + 500
        for offset in (0, 1, 1, 0, -200, 2):
            quiet.inject(as_line(_price(now + offset, 120_000 + offset)))
        await wait_until(lambda: len(got.of("EUR_USD")) == 4, "the newest of them")
    assert [str(quote.bid) for quote in got.of("EUR_USD")[1:]] == ["1.20000", "1.20001", "1.20002"]
    assert {quote.time for quote in got.of("EUR_USD")[1:]} == {moment(now)}
    assert source.passed_over.counts == {"repeated": 1, "out of order": 2}


async def test_a_price_of_the_future_does_not_keep_back_those_that_follow(quiet: OandaStub) -> None:
    source = source_at(quiet, silence=30)
    async with reading(source) as got:
        await wait_until(lambda: len(got.quotes) == len(INSTRUMENTS), "the snapshot")
        quiet.inject(as_line(_price(time.time_ns() + 3_600_000_000_000)) + as_line(_price(time.time_ns(), 130_000)))
        await wait_until(lambda: len(got.of("EUR_USD")) == 2, "the price of the present")
    assert got.of("EUR_USD")[-1].bid == Decimal("1.30000")
    assert source.passed_over.counts == {"from the future": 1}


async def test_an_empty_book_gives_the_prices_of_closing_out_as_indicative(stub: OandaStub) -> None:
    stub.knobs.empty_books = True
    async with reading(source_at(stub, silence=30)) as got:
        await wait_until(lambda: len(got.of("USD_JPY")) > 1, "a price after the snapshot")
    quote = got.of("USD_JPY")[1]
    assert (quote.kind, quote.ask - quote.bid) == (QuoteKind.INDICATIVE, Decimal("0.012"))


async def test_what_is_not_dealt_is_indicative(stub: OandaStub) -> None:
    stub.knobs.tradeable = False
    async with reading(source_at(stub, silence=30)) as got:
        await wait_until(lambda: len(got.of("USD_JPY")) > 1, "a price after the snapshot")
    quote = got.of("USD_JPY")[1]
    assert (quote.kind, quote.ask - quote.bid) == (QuoteKind.INDICATIVE, Decimal("0.008"))


@pytest.mark.parametrize("size", [1, 7, 300])
async def test_lines_are_read_wherever_they_are_cut(stub: OandaStub, size: int) -> None:
    stub.knobs.cut_into, stub.knobs.price_interval = size, 0.1
    source = source_at(stub, silence=30)
    async with reading(source) as got:
        await wait_until(lambda: len(got.quotes) > 3 * len(INSTRUMENTS), "quotes")
    assert not got.faults
    assert not source.passed_over.counts


async def test_what_is_no_price_is_counted_and_passed_over(
    quiet: OandaStub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = source_at(quiet, silence=30)
    async with reading(source) as got:
        await wait_until(lambda: len(got.quotes) == len(INSTRUMENTS), "the snapshot")
        price = _price(time.time_ns())
        malformed = [
            b"secret\n", b"[]\n", b"\xff\n", b"[" * 100_000 + b"\n", b'{"type":"PRICE"\n', as_line({**price, "time": "now"}),
            as_line({**price, "bids": [{"price": "NaN"}]}), as_line({**price, "bids": [{"price": "-1"}]}),
            as_line({**price, "bids": "1.1"}), as_line({**price, "bids": []}), as_line({**price, "asks": [1]}),
        ]  # fmt: skip
        for line in malformed:
            quiet.inject(line)
        quiet.inject(b"\n\r\n  \n")
        quiet.inject(as_line({"type": "NOTICE"}) + as_line({"type": ["PRICE"]}) + as_line({}))
        quiet.inject(as_line({**price, "instrument": "XAU_USD"}) + as_line({**price, "instrument": None}))
        for _ in range(3):
            quiet.inject(b"x" * 500_000)
        quiet.inject(b"\n" + as_line(_price(time.time_ns(), 130_000)))
        await wait_until(lambda: len(got.of("EUR_USD")) == 2, "the price after all that")
        assert quiet.departures == []
    assert source.passed_over.counts == {"malformed": len(malformed) + 1, "unknown type": 3, "other instrument": 2}
    assert "OANDA: messages passed over so far as malformed: 10" in caplog.text
    assert "secret" not in caplog.text


# ---------------------------------------------------------------- connections


async def test_a_stream_that_falls_silent_is_connected_anew_and_the_hole_is_told(stub: OandaStub) -> None:
    holes: list[tuple[datetime, datetime]] = []
    source = source_at(stub, silence=1, on_hole=lambda start, end: holes.append((start, end)))
    async with reading(source) as got:
        await wait_until(lambda: len(got.quotes) > len(INSTRUMENTS), "quotes")
        assert holes == []
        assert not source.silent
        stub.knobs.stalled = True
        await wait_until(lambda: source.silent, "the source knows that it is silent")
        await wait_until(lambda: bool(stub.departures), "the silent stream is left")
        stub.knobs.stalled, after = False, datetime.now(UTC)
        await wait_until(lambda: bool(holes), "the stream is back")
    start, end = holes[0]
    assert start < after <= end
    assert end - start >= timedelta(seconds=1)


async def test_bytes_that_make_no_line_are_silence(quiet: OandaStub) -> None:
    quiet.knobs.heartbeat = 60
    source = source_at(quiet, silence=0.5)
    async with reading(source) as got, asyncio.timeout(30):
        await wait_until(lambda: bool(got.quotes), "the snapshot")
        while not quiet.departures:
            quiet.inject(b" ")
            quiet.inject(b"\n")
            await asyncio.sleep(0.05)


async def test_heartbeats_alone_keep_a_stream(quiet: OandaStub) -> None:
    async with reading(source_at(quiet, silence=1)) as got:
        await wait_until(lambda: bool(got.quotes), "the snapshot")
        await wait_until(lambda: time.monotonic() > got.newest_at + 2, "twice the time of silence has gone by")
        assert (quiet.streaming, quiet.departures) == (1, [])


async def test_a_slow_reader_is_no_silence(stub: OandaStub) -> None:
    source = source_at(stub, silence=1)
    async with asyncio.timeout(30), aclosing(source.quotes()) as quotes:
        await anext(quotes)
        await asyncio.sleep(2)
        for _ in range(100):
            await anext(quotes)
        assert stub.departures == []


async def test_a_stream_that_does_not_begin_is_left(stub: OandaStub) -> None:
    async with reading(source_at(stub, silence=0.5)) as got:
        await wait_until(lambda: bool(got.quotes), "quotes")
        stub.knobs.mute, asked = True, len(stub.requests)
        stub.break_off("end")
        await wait_until(lambda: len(stub.requests) >= asked + 2, "the stream was asked for twice")
        stub.knobs.mute, count = False, len(got.quotes)
        await wait_until(lambda: len(got.quotes) > count, "quotes are back")


@pytest.mark.parametrize("ending", ["end", "mid-line", "reset"])
async def test_a_stream_that_breaks_off_goes_on_where_it_was(stub: OandaStub, ending: Ending) -> None:
    holes: list[tuple[datetime, datetime]] = []
    source = source_at(stub, silence=30, on_hole=lambda start, end: holes.append((start, end)))
    async with reading(source) as got:
        for number in range(3):
            await wait_until(lambda: stub.streaming == 1 and len(got.of("EUR_USD")) > 3, "the stream is up")
            stub.break_off(ending)
            await wait_until(lambda before=number: len(holes) > before, "the stream is back")  # type: ignore[misc]
            count = len(got.quotes)
            await wait_until(lambda before=count: len(got.quotes) > before, "quotes are back")  # type: ignore[misc]
    assert not got.faults
    # The snapshot of a new connection has what was known already.
    assert source.passed_over.counts["repeated"] >= len(INSTRUMENTS)


async def test_an_api_that_is_down_is_waited_for(stub: OandaStub) -> None:
    await stub.go_down()
    holes: list[tuple[datetime, datetime]] = []
    source = source_at(stub, silence=30, on_hole=lambda start, end: holes.append((start, end)))
    async with reading(source) as got:
        await stub.come_up()
        await wait_until(lambda: bool(got.quotes), "the first quotes")
        await stub.go_down()
        await stub.come_up()
        await wait_until(lambda: len(holes) == 1, "the stream is back")


@pytest.mark.parametrize(
    "failure",
    [Failure(502), Failure(503, b""), Failure(504, b'{"errorMessage":"Timeout waiting for response."}'), Failure(500, b"[]")],
)
async def test_a_failure_of_the_server_passes(stub: OandaStub, failure: Failure) -> None:
    stub.knobs.rest_failures.extend([failure] * 3)
    stub.knobs.stream_failures.extend([failure] * 3)
    async with reading(source_at(stub, silence=30)) as got:
        await wait_until(lambda: bool(got.quotes), "quotes")
    assert stub.statuses == {failure.status: 6, 200: 3}


async def test_too_many_requests_are_followed_by_a_second_without(stub: OandaStub, caplog: pytest.LogCaptureFixture) -> None:
    stub.knobs.most_streams = 0
    async with reading(source_at(stub, silence=30)) as got:
        await wait_until(lambda: stub.statuses[429] == 1, "the stream is rejected")
        stub.knobs.most_streams = 1
        await wait_until(lambda: bool(got.quotes), "quotes")
    rejected, accepted = [request.at for request in stub.requests if request.server == "stream"]
    assert accepted - rejected >= 1
    assert "status 429 (RequestID 000" in caplog.text


async def test_a_reader_that_leaves_ends_the_stream_and_the_next_begins_anew(stub: OandaStub) -> None:
    holes = []
    source = source_at(stub, silence=30, on_hole=lambda start, end: holes.append(end - start))
    for _ in range(2):
        async with asyncio.timeout(30), aclosing(source.quotes()) as quotes:
            assert [(await anext(quotes)).pair.name for _ in INSTRUMENTS] == list(INSTRUMENTS)
        await wait_until(lambda: stub.streaming == 0, "the stream is closed")
    assert len(holes) == 1
