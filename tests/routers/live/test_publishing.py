"""Publishing over REST: who may, what is taken, and that it is taken whole or not at all."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.http.bodies import InvalidBody, read_body
from app.http.gateway import Limits, Tokens
from app.realtime.contract.event import Event
from tests.private_valkey import PrivateValkey
from tests.routers.running import (
    BEARER,
    TOKEN,
    Rest,
    application,
    assert_problem,
    rest,
    rest_for_examples,
    serving,
)
from tests.waiting import wait_until

PRICE = {"type": "price_update", "data": {"instrument": "eur/usd", "price": {"bid": "1.0945", "ask": "1.0947"}}}
FLAT_PRICE = {"type": "price_update", "data": {"instrument": "USD_JPY", "bid": 151.2, "ask": 151.25, "source": "desk"}}
VOLATILITY = {"type": "volatility_alert", "data": {"instrument": "EURUSD", "volatility": 0.03, "threshold": 0.02}}
CORRELATION = {
    "type": "correlation_alert",
    "data": {"pair1": "EUR_USD", "pair2": "GBP_USD", "correlation": 0.8, "threshold": 0.7, "message": "closer"},
}
READY = {"type": "data_ready", "data": {"data_type": "candles", "count": 20, "timestamp": "2026-01-31T10:00:00+01:00"}}
EVERY_KIND = [PRICE, FLAT_PRICE, VOLATILITY, CORRELATION, READY]
MEBIBYTE = 1024 * 1024


async def log_of(api: Rest) -> list[Event]:
    """What the log holds."""
    return await api.on.log.reader().read(5000)


# ---------------------------------------------------------------- what is taken


@pytest.mark.parametrize("event", EVERY_KIND)
async def test_one_event(api: Rest, event: dict[str, Any]) -> None:
    response = await api.post(event)
    assert response.status_code == 202, response.text
    [entry] = await log_of(api)
    assert response.json() == {"ids": [entry.id]}
    assert entry.type == event["type"]


async def test_a_list_is_written_in_its_order_and_reaches_clients(api: Rest) -> None:
    listener = api.on.listen("EUR_USD", "USD_JPY", "GBP_USD")
    response = await api.post(EVERY_KIND)
    assert response.status_code == 202
    ids = response.json()["ids"]
    await api.on.passed(ids[-1])
    assert listener.ids == ids
    assert [type for type, _, _ in listener.events] == [event["type"] for event in EVERY_KIND]


async def test_what_is_missing_is_filled_in(api: Rest) -> None:
    await api.on.passed((await api.post(EVERY_KIND)).json()["ids"][-1])
    events = (await api.get("/api/v1/events")).json()["events"]
    price, flat, volatility, correlation, ready = [event["data"] for event in events]
    assert price["instrument"] == "EUR_USD"
    assert {**price["price"], "time": ""} == {"bid": "1.09450", "ask": "1.09470", "mid": "1.09460", "time": ""}
    assert price["price"]["time"].endswith("Z")
    assert price["source"] == "external"
    assert (flat["price"]["bid"], flat["price"]["mid"], flat["source"]) == ("151.200", "151.225", "desk")
    assert volatility["message"] == "Volatility (0.03) exceeded threshold (0.02)"
    assert volatility["timestamp"].endswith("Z")
    assert correlation["message"] == "closer"
    assert ready["timestamp"] == "2026-01-31T09:00:00.000000Z"


async def test_a_thousand_events_at_once(api: Rest) -> None:
    response = await api.post([PRICE] * 1000)
    assert response.status_code == 202
    assert len(set(response.json()["ids"])) == 1000


# ---------------------------------------------------------------- who may


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", TOKEN, f"Basic {TOKEN}"])
async def test_a_token_is_needed(api: Rest, header: str | None) -> None:
    response = await api.post(PRICE, {} if header is None else {"Authorization": header})
    assert_problem(response, 401, "Unauthorized", detail="A bearer token is needed")
    assert response.headers["www-authenticate"] == 'Bearer realm="fx-gateway"'
    assert await api.log_length() == 0


@pytest.mark.parametrize("token", ["x", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), "töken"])
async def test_an_unknown_token(api: Rest, token: str) -> None:
    response = await api.post(PRICE, {"Authorization": "Bearer " + token})
    assert_problem(response, 401, "Unauthorized", detail="The bearer token is not known")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert await api.log_length() == 0


async def test_every_configured_token_will_do(valkey_url: str) -> None:
    tokens = ("the first token", "the sécond token", "the third token")
    async with rest(valkey_url, tokens=Tokens(publish=tuple(token.encode() for token in tokens))) as api:
        for token in tokens:
            for scheme in ("Bearer", "bearer"):
                response = await api.post(PRICE, {"Authorization": f"{scheme} {token}"})
                assert response.status_code == 202
        assert (await api.post(PRICE)).status_code == 401


async def test_a_gateway_without_tokens_takes_nothing(valkey_url: str) -> None:
    async with rest(valkey_url, tokens=Tokens()) as api:
        assert_problem(await api.post(PRICE), 403, "Forbidden")
        assert_problem(await api.post(PRICE, {}), 403, "Forbidden")


async def test_tokens_are_not_shown_by_the_gateway_object(api: Rest) -> None:
    assert TOKEN not in repr(api.gateway)


# ---------------------------------------------------------------- what is not taken


@pytest.mark.parametrize(
    ("event", "fault"),
    [
        ({"type": "price_update", "data": {"instrument": "EUR_USD"}}, "price: Field required"),
        ({"type": "price_update", "data": {"instrument": "EUR_USD", "bid": 2, "ask": 1}}, "the bid is above the ask"),
        ({"type": "price_update", "data": {"instrument": "EUR_USD", "bid": -1, "ask": 1}}, "price.bid: "),
        ({"type": "price_update", "data": {"instrument": "XXX_YYY", "bid": 1, "ask": 1}}, "XXX_YYY"),
        ({"type": "price_update", "data": None}, "valid dictionary"),
        ({"type": "data_ready", "data": {"data_type": "all"}}, "data_type: "),
        ({"type": "gap", "data": {}}, "Invalid type: gap"),
        ({"type": "heartbeat", "data": {}}, "Invalid type: heartbeat"),
        ({"type": 1, "data": {}}, "type and data"),
        ({"type": "data_ready"}, "type and data"),
        ({"data": {}}, "type and data"),
        ([], "type and data"),
        (None, "type and data"),
        ("price_update", "type and data"),
    ],
)
async def test_one_wrong_event_is_named_and_nothing_is_published(api: Rest, event: object, fault: str) -> None:
    body = assert_problem(await api.post([PRICE, READY, event, PRICE]), 422, "Invalid body", index=2)
    assert fault in body["detail"]
    assert body["detail"].startswith("item 2: ")
    assert await api.log_length() == 0
    if not isinstance(event, list):
        body = assert_problem(await api.post(event), 422, "Invalid body")
        assert fault in body["detail"]
        assert "index" not in body
        assert await api.log_length() == 0


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_list_of_a_length_that_is_not_taken(api: Rest, count: int) -> None:
    body = assert_problem(await api.post([PRICE] * count), 422, "Invalid body")
    assert str(count) in body["detail"]
    assert await api.log_length() == 0


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"type":"data_ready","data":NaN}', b"[" * 100_000])
async def test_what_is_no_json(api: Rest, content: bytes) -> None:
    response = await api.client.post("/api/v1/events", content=content, headers=BEARER)
    assert_problem(response, 422, "Invalid body", detail="The body is not JSON")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    ["instrument", "price", "bid", "ask", "mid", "time", "timestamp", "source", "data_type", "count", "message"]
) | st.sampled_from(["pair1", "pair2", "correlation", "threshold", "volatility", "severity"])
near_values = st.sampled_from(["EUR_USD", "GBP_USD", "1.1", 1.2, 0, "2026-01-31T09:30:00Z", "prices", "info"])
datas = st.dictionaries(names, near_values | json_values, max_size=8)
types = st.sampled_from(["price_update", "volatility_alert", "correlation_alert", "data_ready"]) | st.text(max_size=10)
items = st.fixed_dictionaries({"type": types, "data": datas | json_values}) | json_values


@pytest.mark.usefixtures("untraced_test")
def test_no_json_is_an_internal_error(valkey_url: str) -> None:
    with rest_for_examples(valkey_url) as (api, run):

        @settings(max_examples=200)
        @given(content=items | st.lists(items, max_size=3))
        def check(content: object) -> None:
            before = run(api.log_length())
            response = run(api.post(content))
            assert response.status_code in (202, 422)
            written = len(response.json()["ids"]) if response.status_code == 202 else 0
            assert run(api.log_length()) == before + written

        check()


# ---------------------------------------------------------------- bounds


async def test_a_mebibyte_is_taken_and_a_byte_more_is_not(api: Rest) -> None:
    ready = b'{"type":"data_ready","data":{"data_type":"prices"}}'
    largest = ready + b" " * (MEBIBYTE - len(ready))
    taken = await api.client.post("/api/v1/events", content=largest, headers=BEARER)
    assert taken.status_code == 202
    refused = await api.client.post("/api/v1/events", content=largest + b" ", headers=BEARER)
    assert_problem(refused, 413, "Payload too large")


async def test_a_declared_length_beyond_the_bound_is_refused_unread(api: Rest) -> None:
    async with serving(application(api.gateway)) as address:
        reader, writer = await asyncio.open_connection(*address)
        # The server asks for the body, by 100 Continue, only where the application begins to read it.
        writer.write(head(f"Content-Length: {MEBIBYTE + 1}", "Expect: 100-continue"))
        answer = await reader.readuntil(b"}")
        writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"title":"Payload too large"' in answer


async def test_a_body_without_a_length_is_read_up_to_the_bound_and_no_further(api: Rest) -> None:
    async def long() -> AsyncGenerator[bytes]:
        for _ in range(128):
            yield b" " * 65_536

    app = CountingBytes(application(api.gateway))
    async with serving(app) as (host, port), httpx.AsyncClient() as http:
        response = await http.post(f"http://{host}:{port}/api/v1/events", content=long(), headers=BEARER)
        assert_problem(response, 413, "Payload too large")
        assert MEBIBYTE < app.read <= MEBIBYTE + app.largest_piece
        # The connection is still good for another request.
        assert (await http.get(f"http://{host}:{port}/health")).status_code == 200


class CountingBytes:
    """An application that counts the bytes it reads of bodies."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.read = self.largest_piece = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting() -> Message:
            message = await receive()
            size = len(message.get("body", b""))
            self.read, self.largest_piece = self.read + size, max(self.largest_piece, size)
            return message

        await self._app(scope, counting, send)


async def test_a_body_that_does_not_come(valkey_url: str) -> None:
    async with rest(valkey_url, limits=Limits(body=0.05)) as api, serving(application(api.gateway)) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(head("Content-Length: 10") + b"[")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"content-type: application/problem+json" in answer
    assert b'"detail":"The body did not arrive within 0.05 s"' in answer


async def test_a_client_that_goes_away_while_sending_is_no_internal_error() -> None:
    async def gone() -> dict[str, object]:
        return {"type": "http.disconnect"}

    with pytest.raises(InvalidBody, match="ended early"):
        await read_body(Request({"type": "http", "headers": [(b"content-length", b"5")]}, gone), 10, 1)


def head(*headers: str) -> bytes:
    """The head of a publication, as it stands on the connection."""
    lines = ["POST /api/v1/events HTTP/1.1", "Host: gateway", f"Authorization: Bearer {TOKEN}", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


# ---------------------------------------------------------------- without Redis


async def test_without_redis(valkey: PrivateValkey) -> None:
    async with rest(valkey.url) as api:
        valkey.kill()
        assert_problem(await api.post(PRICE), 503, "Log unavailable")


async def test_a_redis_that_does_not_answer_is_not_waited_for(valkey: PrivateValkey, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "asyncio")
    async with rest(valkey.url, limits=Limits(redis=1.0)) as api:
        valkey.pause()
        for answer in await asyncio.gather(*(api.post(PRICE) for _ in range(5))):
            assert_problem(answer, 503, "Log unavailable", detail="Redis does not answer within 1 s")
        valkey.resume()

        async def published() -> bool:
            return (await api.post(READY)).status_code == 202

        await wait_until(published, "publishing works again")
        assert (await log_of(api))[-1].type == "data_ready"
