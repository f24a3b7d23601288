"""Clients that send what no client should, over a connection that is sound. Others must not notice."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
import pytest_asyncio

from app.realtime.contract.answers import Problem
from app.realtime.transports.engine import session
from tests.realtime.socket_clients import RawSocket, event_of, raw_polling, raw_socket
from tests.realtime.watching import Watched, sessions_of, watched
from tests.waiting import wait_until


@pytest_asyncio.fixture
async def on(valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Watched]:
    """A gateway under watch."""
    async with watched(valkey_url, tmp_path, caplog) as on:
        yield on
        await on.alone()


async def answers(socket: RawSocket) -> list[tuple[str, object]]:
    """The events that answer what was sent, without the news that concern everyone."""
    return [event_of(packet) for packet in await packets(socket)]


async def packets(socket: RawSocket) -> list[str]:
    """The packets that answer what was sent, without the news that concern everyone."""
    return [packet for packet in await socket.answers() if not packet.startswith('42["data_ready"')]


NO_PACKETS: list[str | bytes] = [
    # no Engine.IO packets
    "", " ", "x", "9", "-1", "٣x"[1:], "\x00", "\ufeff42", "0", "0{}", "2", "2probe", "6", "6x", "b!", "bAAAA", "b",
    # no Socket.IO packets
    "4", "4x", "4 ", "4-", "47", "48", "49", "4null", "4true", "4[]", "4[1,2]", '4{"a":1}', "4-1", "4 1", "4 2", '4"x"', "4²",
    "44", '44"no"', '44{"message":"no"}', "40", "40/", "40/,", "40/?a=b", '40{"token":"x"}', "40/x,[]", "40/x,5", "41x", "41{}",
    "43", "43[]", "431[]", "43null", "45", "46", "46[]", "43" + "9" * 99 + "[]", "43" + "9" * 101 + "[]",
    # no events
    "42", "42{}", "42[]", "42null", "42true", '42"ping"', "42[", '42["ping"', "42 ", "42[NaN]", '42["ping",NaN]', "42[Infinity]",
    "42[" * 2, "42" + "9" * 101 + '["ping"]', '42abc["ping"]', '42-1["ping"]', '421.5["ping"]', '42["\\ud800"]',
    '42["subscribe",{"pairs":*}]', "42{" * 5, '42/x,["ping"]', "42/x", '42["\\x"]', '42["\\u12"]',
    "42" + "[" * 10_000 + "]" * 10_000, '42["subscribe",' + '{"pairs":' * 10_000 + "1" + "}" * 10_000 + "]",
    "42[null]", "42[true]", "42[{}]", "42[[]]", '42[["ping"]]', '42[{"a":"ping"}]', "42" + "[" * 1000 + "]" * 1000,
    '42["connect"]', '42["disconnect"]', '42["connect_error"]', '42["dis\\u0063onnect","x"]', '42[ "connect",{}]',
    # no binary events
    "450-[]", "45-[]", "451[]", '45["subscribe"]', "459-[]", "45999999999999-[]", "45²-[]", "460-[]", "465-[]", "46x-[]",
    '450-["ping"]', '455-["subscribe",{"pairs":{"_placeholder":true,"num":0}}]', '421-["ping"]', "451-",
    '451-{"_placeholder":true,"num":0}', '461-1["subscribe"]',
    # no text
    b"", b"2", b"3", b"42", b'42["ping"]', b"\xff\xfe", b"0" * 100_000,
]  # fmt: skip


@pytest.mark.usefixtures("untraced_test")
async def test_what_is_no_packet_ends_the_connection_at_once(on: Watched) -> None:
    for number, text in enumerate(NO_PACKETS, 1):
        async with raw_socket(on.url, joined=True) as socket:
            await socket.send(text, '42["ping"]')
            assert await socket.end() == 1006, text[:50]
        await on.alone()
        assert on.running.hub.statistics.cut_off["not a packet"].value == number, text[:50]


NAMELESS = ["[1]", "[-1.5,{}]", "[ 0 ]", "[1e3]"]
UNKNOWN = ["message", "*", "", "__class__", "PING", "ping ", "\x00", "price_update", "connect ", 'a"b\\c', "é"]


async def test_an_event_that_is_not_known_is_answered_with_its_name(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        for text in NAMELESS:
            await socket.send("42" + text)
            assert await answers(socket) == [("server_error", {"error": "An event needs a name", **_INVALID})], text[:50]
        for name in UNKNOWN:
            await socket.send("42" + orjson.dumps([name]).decode())
            assert await answers(socket) == [("server_error", {"error": f"Unknown event: {name}", **_INVALID})]


async def test_binary_events_are_read_and_answered_like_any_other(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send('451-["subscribe",{"pairs":{"_placeholder":true,"num":0}}]', b"EUR_USD")
        await socket.send('451-["request_price",{"instrument":{"_placeholder":true,"num":0}}]', b"\xff" * 1000)
        await socket.send('452-7["unknown",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]', b"1", b"")
        await socket.send('454-["get_subscriptions",1,2]', b"1", b"2", b"3", b"4")
        got = await packets(socket)
        assert got.pop(3) == '437[{"error":"Unknown event: unknown","message":"A value a client sent that cannot be used"}]'
        names = [event_of(packet)[0] for packet in got]
        assert names == ["subscription_error", "price_error", "server_error", "subscriptions_info"]


BAD_ATTACHMENTS: list[tuple[str, list[str | bytes]]] = [
    ('451-["subscribe",{"_placeholder":true,"num":1}]', [b"x"]),
    ('451-["subscribe",{"_placeholder":true,"num":-2}]', [b"x"]),
    ('451-["subscribe",{"_placeholder":true,"num":"x"}]', [b"x"]),
    ('451-["subscribe",{"_placeholder":true,"num":{}}]', [b"x"]),
    ('451-["subscribe",' + "[" * 700 + '{"_placeholder":true,"num":0}' + "]" * 700 + "]", [b"x"]),
    ('451-["subscribe",{"_placeholder":true,"num":0}]', ['42["ping"]']),
    ('451-["subscribe",{"_placeholder":true,"num":0}]', ["41"]),
    ('452-["subscribe",{"_placeholder":true,"num":0}]', [b"x", "rubbish"]),
    ('451-["ping",{"_placeholder":true,"num":0}]', [b"x", b"y"]),
]


@pytest.mark.parametrize(("text", "attachments"), BAD_ATTACHMENTS)
async def test_attachments_that_do_not_fit_end_the_connection(text: str, attachments: list[str | bytes], on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send(text, *attachments)
        assert await socket.end() == 1006


async def test_acknowledgement_ids_may_be_as_long_as_the_protocol_allows(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        for id in ("0", "18446744073709551616", "9" * 100):
            await socket.send(f'42{id}["get_subscriptions"]')
            event, ack = await packets(socket)
            assert event_of(event)[0] == "subscriptions_info"
            assert ack.startswith(f"43{id}[{{")


async def test_long_lists_are_answered_in_no_time(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        for pairs in ('"EUR_USD"', "1", "null", '"%s"' % ("x" * 1000)):
            for event, error in (("subscribe", "subscription_error"), ("unsubscribe", "unsubscription_error")):
                await socket.send(f'42["{event}",{{"pairs":[{",".join([pairs] * (1_000_000 // (len(pairs) + 1)))}]}}]')
                [(name, problem)] = await answers(socket)
                assert name == error
                assert len(Problem.model_validate(problem).error) < 200


async def test_nested_payloads_are_answered_with_the_error_of_their_event(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        for depth in (10, 500, 1000):
            nested = "[" * depth + "]" * depth
            await socket.send(f'42["subscribe",{{"pairs":{nested}}}]', f'42["request_price",{nested}]')
            assert [name for name, _ in await answers(socket)] == ["subscription_error", "price_error"]


async def test_large_messages_are_answered_and_larger_ones_end_the_connection(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send('42["request_price",{"instrument":"%s"}]' % ("x" * 1_000_000))
        [(name, problem)] = await answers(socket)
        assert name == "price_error"
        assert len(str(problem)) < 200
        await socket.send('42["%s"]' % ("x" * (1_100_000 - 6)))
        [(name, problem)] = await answers(socket)
        assert name == "server_error"
        assert len(str(problem)) < 200
        await socket.send("4" * 1_100_001)
        assert await socket.end() == 1009


async def test_a_large_message_in_many_fragments_ends_the_connection_too(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.connection.send("4" + "2" * 99_999 for _ in range(12))
        assert await socket.end() == 1009


async def test_fragments_of_an_event_are_put_together(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.connection.send(["42[", '"get_', "", 'subscriptions"', "]"])
        assert [name for name, _ in await answers(socket)] == ["subscriptions_info"]


@pytest.mark.parametrize("text", ['42["ping"]', '42["subscribe",{"pairs":"*"}]', "rubbish", "41", "43[]", "42", "451-[]", ""])
async def test_a_client_that_sends_before_connecting_is_cut_off(text: str, on: Watched) -> None:
    async with raw_socket(on.url) as socket, raw_polling(on.url) as polling:
        await socket.send(text)
        await polling.post(text + "\x1e42")
        if text == "41":
            await socket.send("x")
        assert await socket.end(10) == 1006
        assert (await polling.get()).status_code == 400
        await wait_until(lambda: len(sessions_of(on.running)) == 1, "both sessions are forgotten")


async def test_engine_packets_before_connecting_are_no_harm(on: Watched) -> None:
    async with raw_socket(on.url) as socket:
        await socket.send("3", "3", "5")
        assert await socket.read() == "6"
        await socket.join()


async def test_other_namespaces_are_refused_and_the_connection_goes_on(on: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CONNECT_WITHIN", 1.5)
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send("40/admin,", '40/admin,{"token":1}', "41/admin,")
        refused = [orjson.loads(packet.removeprefix("44/admin,")) for packet in await packets(socket)]
        assert refused == [{"message": "Invalid namespace"}] * 2
        await on.some_traffic(1100)  # for longer than a client has to connect
        await socket.send('42["get_subscriptions"]')
        assert [name for name, _ in await answers(socket)] == ["subscriptions_info"]


async def test_asking_for_other_namespaces_only_does_not_keep_a_session_alive(
    on: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CONNECT_WITHIN", 0.5)
    async with raw_socket(on.url) as socket:
        while len(sessions_of(on.running)) > 1:
            await socket.connection.send("40/admin,")
            await on.some_traffic(3)
            assert len(on.running.hub.clients) == 1
        assert await socket.end(10) == 1006


async def test_a_client_that_has_left_the_namespace_may_come_back(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket, raw_polling(on.url, joined=True) as polling:
        for _ in range(2):
            await socket.send("41")
            await polling.send("41")
            await on.alone()
            await socket.join()
            await polling.join()
            await polling.send('42["get_subscriptions"]')
            assert "subscriptions_info" in [event_of(packet)[0] for packet in await polling.poll()]
            await socket.send('42["get_subscriptions"]')
            assert [name for name, _ in await answers(socket)] == ["subscriptions_info"]
            assert len(on.running.hub.clients) == 3
        await polling.send("1")


async def test_a_client_that_has_left_the_namespace_sends_no_events(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket, raw_polling(on.url, joined=True) as polling:
        await socket.send("41", '42["ping"]')
        assert await socket.end() == 1006
        answer = await polling.post('41\x1e42["ping"]\x1e40')
        assert (answer.status_code, answer.json()) == (400, "Invalid packet")
        await wait_until(lambda: len(sessions_of(on.running)) == 1, "both sessions have ended")


async def test_what_comes_after_the_goodbye_is_not_looked_at(on: Watched) -> None:
    async with raw_socket(on.url, joined=True) as socket:
        await socket.send("1", '42["ping"]', "rubbish", "40")
        assert await socket.end(3) is not None


_INVALID = {"message": "A value a client sent that cannot be used"}
