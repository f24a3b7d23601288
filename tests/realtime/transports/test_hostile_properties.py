"""Whatever clients send: one answer under the documented name, no harm to others, no failure inside."""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote_from_bytes, urlencode

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from app.http.origins import Origins
from app.realtime.transports.connection import CLIENT_EVENTS
from app.realtime.transports.sockets import RESERVED
from tests.gateways import RunningGateway, gateway
from tests.realtime.socket_clients import RawSocket, event_of, raw_socket
from tests.realtime.stream_clients import raw_stream
from tests.realtime.watching import assert_no_traceback

T = TypeVar("T")

many = settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])

DOCUMENTED = {
    "subscribe": {"subscription_confirmed", "subscription_error"},
    "unsubscribe": {"unsubscription_confirmed", "unsubscription_error"},
    "get_subscriptions": {"subscriptions_info"},
    "request_price": {"price_response", "price_error"},
    "request_all_prices": {"all_prices_response"},
    "get_server_stats": {"server_stats"},
    "ping": {"pong"},
}

texts = st.text(st.characters(codec="utf-8"), max_size=30)
numbers = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
printable = st.text(st.characters(exclude_categories=["C"]), max_size=40)
names = st.sampled_from(["EUR_USD", "eur/usd", "USDJPY", "XXX_YYY", "EUR_EUR", "*", "", "EUR_USD "])
members = {
    "pairs": names | st.lists(names | json_values, max_size=4) | json_values,
    "since": st.sampled_from(["0-0", "1-1", "9000000000000-0", "18446744073709551616-0", "", "١-١"]) | json_values,
    "snapshot": st.booleans() | json_values,
    "max_hz": numbers | json_values,
    "instrument": names | json_values,
}
event_names = numbers | texts.filter(lambda name: name not in {*DOCUMENTED, *RESERVED})
payloads = st.fixed_dictionaries({}, optional=members) | json_values


Run = Callable[[Coroutine[Any, Any, T]], T]


@contextmanager
def running(valkey_url: str, folder: Path) -> Iterator[tuple[RunningGateway, Run[Any], AsyncExitStack]]:
    """A gateway that many examples share, and what runs a coroutine on its event loop."""
    with asyncio.Runner() as runner:
        opened = AsyncExitStack()
        on = runner.run(opened.enter_async_context(gateway(valkey_url, folder)))
        try:
            yield on, runner.run, opened
        finally:
            runner.run(opened.aclose())


@pytest.fixture(autouse=True)
def _nothing_fails_inside(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No example may leave a traceback in the log."""
    caplog.set_level(logging.WARNING)
    yield
    assert_no_traceback(caplog)


@pytest.mark.usefixtures("untraced_test")
def test_every_payload_of_every_event_is_answered_once_under_the_documented_name(valkey_url: str, tmp_path: Path) -> None:
    assert DOCUMENTED.keys() == CLIENT_EVENTS.keys()
    with running(valkey_url, tmp_path) as (on, run, opened):
        socket = run(opened.enter_async_context(raw_socket(on.url, joined=True)))

        @many
        @given(st.sampled_from(sorted(DOCUMENTED)), st.lists(payloads, max_size=2), st.none() | st.integers(0, 2**70))
        def holds(event: str, arguments: list[object], ack: int | None) -> None:
            packet = f"42{'' if ack is None else ack}{orjson.dumps([event, *arguments]).decode()}"
            got = run(_answers(socket, packet))
            name, body = event_of(got[0])
            assert name in DOCUMENTED[event]
            assert isinstance(body, dict)
            assert (body.keys() == {"error", "message"}) == name.endswith("_error")
            assert len(orjson.dumps(body)) < 3000
            if ack is not None:
                assert got[1] == f"43{ack}[{got[0].partition(',')[2].removesuffix(']')}]"
            assert len(got) == (1 if ack is None else 2)

        holds()


def test_every_value_as_an_event_is_answered_once(valkey_url: str, tmp_path: Path) -> None:
    with running(valkey_url, tmp_path) as (on, run, opened):
        socket = run(opened.enter_async_context(raw_socket(on.url, joined=True)))

        @many
        @given(st.tuples(event_names, st.lists(json_values, max_size=4)).map(lambda event: [event[0], *event[1]]))
        def holds(value: object) -> None:
            [answer] = run(_answers(socket, f"42{orjson.dumps(value).decode()}"))
            name, problem = event_of(answer)
            assert name == "server_error"
            assert problem.keys() == {"error", "message"}

        holds()


packets_and_texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=60),
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "0", "1", "2", "3", "4", "40", "41", "42", "43", "44", "45", "451-", "46", "5", "6", "b", "4/x,"]),
        st.sampled_from(["", "/", "/x,", "/x?y=z,", "1-", "12", "-"]),
        st.just("") | json_values.map(lambda value: orjson.dumps(value).decode()),
        st.text(st.characters(codec="utf-8"), max_size=3),
    ),
    st.binary(max_size=40),
)


@pytest.mark.usefixtures("untraced_test")
def test_no_message_breaks_the_connection_of_another_or_the_gateway(valkey_url: str, tmp_path: Path) -> None:
    with running(valkey_url, tmp_path) as (on, run, opened):
        steady = run(opened.enter_async_context(raw_socket(on.url, joined=True)))

        @many
        @given(st.lists(packets_and_texts, min_size=1, max_size=5), st.booleans())
        def holds(messages: list[str | bytes], joined: bool) -> None:
            run(_send_and_leave(on.url, messages, joined))
            run(_answers(steady, '42["get_subscriptions"]'))

        holds()


def test_every_query_of_a_stream_is_served_or_refused_in_words(valkey_url: str, tmp_path: Path) -> None:
    keys = st.sampled_from(["pairs", "last_event_id", "snapshot", "max_hz"]) | texts
    values = names | st.sampled_from(["0-0", "1-1", "x", "true", "0", "5", "nan", "inf", "-1", "1e400", "١"]) | texts
    queries = st.lists(st.tuples(keys, values), max_size=5).map(urlencode) | st.binary(max_size=60).map(
        lambda raw: quote_from_bytes(raw, safe="=&%+;,/?")
    )
    paths = st.sampled_from(["/stream", "/stream/EUR_USD", "/stream/XXX"]) | st.binary(min_size=1, max_size=10).map(
        lambda raw: f"/stream/{quote_from_bytes(raw)}"
    )
    with running(valkey_url, tmp_path) as (on, run, _):

        @many
        @given(paths, queries, st.none() | values)
        def holds(path: str, query: str, last_event_id: str | None) -> None:
            status, kind = run(_status(on.url, f"{path}?{query}", last_event_id))
            assert (status, kind) in (
                (200, "text/event-stream; charset=utf-8"),
                (400, "application/problem+json"),
                (404, "application/problem+json"),
                (422, "application/problem+json"),  # an unknown parameter
                (307, None),  # a slash at the end, in whatever spelling
            )

        holds()


@many
@given(printable, st.none() | printable)
def test_no_origin_of_a_stranger_is_let_in(origin: str, host: str | None) -> None:
    allowed = Origins(["https://example.com", "http://localhost:*"])
    headers = [(b"origin", origin.encode("latin-1", "replace"))]
    if host is not None:
        headers.append((b"host", host.encode("latin-1", "replace")))
    judged = allowed.allows({"client": ("192.0.2.1", 1), "headers": headers})
    assert not judged or (host and f"//{host}".lower() in origin.lower())


async def _answers(socket: RawSocket, packet: str) -> list[str]:
    await socket.send(packet)
    return await socket.answers()


async def _send_and_leave(url: str, messages: list[str | bytes], joined: bool) -> None:
    try:
        async with raw_socket(url, joined=joined) as socket:
            await socket.send(*messages)
            async with asyncio.timeout(0.5):  # a client that has left, or owes an attachment, gets no answer
                await socket.answers()
    except (ConnectionClosed, TimeoutError):
        pass


async def _status(url: str, path: str, last_event_id: str | None) -> tuple[int, str | None]:
    headers = {}
    if last_event_id is not None and last_event_id.isprintable():
        headers["Last_Event_ID"] = last_event_id
    async with raw_stream(url, path, **headers) as stream:
        return stream.status, stream.header("content-type")
