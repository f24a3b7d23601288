import asyncio
import json
import ssl
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.providers.oanda import api as oanda_api
from app.providers.oanda.api import OandaApi
from app.providers.oanda.source import OandaSource
from tests.providers.oanda.stub import TOKEN, OandaStub
from tests.providers.oanda.stub_running import source_at
from tests.providers.oanda.stub_stream import ACCOUNT, Failure


async def _bars(source: OandaSource) -> list[Candle]:
    """Bars of some hours, asked for in one request."""
    start = datetime(2024, 3, 4, tzinfo=UTC)
    pages = source.fetch_candles(CurrencyPair("EUR", "USD"), Granularity.H1, start, start + timedelta(hours=3))
    return [bar async for page in pages for bar in page]


@pytest.mark.parametrize("failure", [Failure(502), Failure(503, b""), Failure(504, b"[]"), Failure(429, b""), Failure(200)])
async def test_a_failure_that_passes_is_not_told(stub: OandaStub, failure: Failure) -> None:
    stub.knobs.rest_failures.extend([failure] * (1 if failure.status == 429 else 4))
    assert await _bars(source_at(stub))


async def test_a_failure_that_lasts_is_told_after_five_attempts(stub: OandaStub) -> None:
    stub.knobs.rest_failures.extend([Failure(502)] * 10)
    with pytest.raises(SourceError, match=r"^OANDA does not answer in 5 attempts: status 502 \(RequestID 0+5\)$"):
        await _bars(source_at(stub))
    assert len(stub.requests) == 5


async def test_an_answer_that_breaks_off_is_asked_for_again(stub: OandaStub) -> None:
    stub.knobs.cut_answers = True
    with pytest.raises(SourceError, match="in 5 attempts: the connection broke off: peer closed connection"):
        await _bars(source_at(stub))
    stub.knobs.cut_answers = False
    assert await _bars(source_at(stub))


async def test_a_refused_connection_is_reported(stub: OandaStub) -> None:
    await stub.go_down()
    with pytest.raises(SourceError, match=r"in 5 attempts: cannot connect: .*Connect call failed"):
        await _bars(source_at(stub))


async def test_an_api_that_says_nothing_is_left(stub: OandaStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oanda_api, "_ANSWERS_WITHIN", 0.5)
    stub.knobs.mute = True
    with pytest.raises(SourceError, match=r"in 5 attempts: no answer in time$"):
        await _bars(source_at(stub))


async def test_an_answer_without_end_is_not_read_to_it(stub: OandaStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oanda_api, "_LARGEST_ANSWER", 100)
    with pytest.raises(SourceError, match=r"^OANDA answers with more than 100 bytes$"):
        await _bars(source_at(stub))


@pytest.mark.parametrize(
    "answers",
    [[{}], [{"accounts": [1]}], [{"accounts": [{"id": ACCOUNT}]}, {"instruments": None}]],
)
async def test_an_account_that_cannot_be_read_is_told(stub: OandaStub, answers: list[object]) -> None:
    stub.knobs.rest_failures.extend(Failure(200, json.dumps(answer).encode()) for answer in answers)
    with pytest.raises(SourceError, match=r"^OANDA answers with an account that cannot be read"):
        await anext(source_at(stub).quotes())


async def test_no_more_than_a_hundred_requests_a_second_are_made(stub: OandaStub) -> None:
    async with OandaApi(TOKEN, stub.rest_url, stub.stream_url) as api:
        await asyncio.gather(*(api.get("/v3/accounts") for _ in range(60)))
    times = [request.at for request in stub.requests]
    assert stub.statuses == {200: 60}
    assert times[-1] - times[0] >= 0.55
    assert len(stub.connections) <= 2


async def test_calls_share_a_connection_inside_async_with(stub: OandaStub) -> None:
    async with source_at(stub) as source:
        await _bars(source)
        await _bars(source)
        assert len(stub.connections) == 1
    await _bars(source)
    assert len(stub.connections) == 2


async def test_the_api_is_not_asked_while_it_is_closed(stub: OandaStub) -> None:
    with pytest.raises(ValueError, match="inside `async with` only"):
        await OandaApi(TOKEN, stub.rest_url, stub.stream_url).get("/v3/accounts")


# ---------------------------------------------------------------- the stand-in itself


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v3/accounts", 405),
        ("GET", "/v3", 404),
        ("GET", "/v3/accounts/1/pricing?instruments=EUR_USD", 404),
        ("GET", f"/v3/accounts/{ACCOUNT}/pricing?instruments=XXX_YYY", 400),
        ("GET", "/v3/instruments/XXX_YYY/candles", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?granularity=M2", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?granularity=H1&count=5001", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?granularity=H1&from=2024-01-01T00:00:00Z&to=2024-01-02T00:00:00Z&count=5", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?granularity=H1&from=2999-01-01T00:00:00Z", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?granularity=H1&to=2999-01-01T00:00:00Z", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?granularity=M1&from=2024-01-01T00:00:00Z&to=2024-02-01T00:00:00Z", 400),
        ("GET", "/v3/instruments/EUR_USD/candles?granularity=H1&from=2024-01-01T00:00:00Z&to=2024-02-01T00:00:00Z", 200),
    ],
)
async def test_the_stand_in_refuses_what_oanda_refuses(stub: OandaStub, method: str, path: str, status: int) -> None:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, verify=_TLS) as client:
        response = await client.request(method, stub.rest_url + path)
    assert response.status_code == status
    assert ("errorMessage" in response.json()) == (status != 200)
    assert response.headers["RequestID"]


async def test_the_stand_in_counts_requests_and_knows_its_token(stub: OandaStub) -> None:
    stub.knobs.requests_a_second = 2
    async with httpx.AsyncClient(verify=_TLS) as client:
        statuses = [(await client.get(stub.rest_url + "/v3/accounts")).status_code for _ in range(3)]
    assert statuses == [401, 401, 429]


_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
