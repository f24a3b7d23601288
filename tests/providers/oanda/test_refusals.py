import asyncio
import logging
from contextlib import aclosing

import pytest

from app.errors import SourceError, SourceRefused
from app.market.quote import Quote
from app.providers.oanda.source import OandaSource
from tests.providers.oanda.stub import TOKEN, OandaStub
from tests.providers.oanda.stub_market import INSTRUMENTS
from tests.providers.oanda.stub_running import source_at
from tests.providers.oanda.stub_stream import Failure


async def _first_quote(source: OandaSource) -> Quote:
    async with asyncio.timeout(30), aclosing(source.quotes()) as quotes:
        return await anext(quotes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"token": "0123456789abcdef-live"}, r"status 401, Insufficient authorization to perform request\. \(RequestID 0+1\)$"),
        ({"account": "101-004-1234567-009"}, r"^OANDA refuses us: status 404"),
        ({"account": "../.."}, r"^OANDA refuses us: status 404"),
    ],
)
async def test_a_token_or_account_that_is_not_known_is_refused_for_good(
    stub: OandaStub, options: dict[str, str], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    source = source_at(stub, **options)
    with pytest.raises(SourceRefused, match=message) as caught:
        await anext(source.quotes())
    assert len(stub.requests) == 1
    assert "RequestID" in caplog.text
    for text in (caplog.text, str(caught.value), repr(source), repr(vars(source))):
        assert "0123456789abcdef" not in text


@pytest.mark.parametrize(
    ("status", "kind"), [(401, SourceRefused), (403, SourceRefused), (404, SourceRefused), (400, SourceError)]
)
async def test_a_stream_that_is_refused_later_ends_the_quotes(stub: OandaStub, status: int, kind: type[SourceError]) -> None:
    async with aclosing(source_at(stub, silence=30).quotes()) as quotes:
        await anext(quotes)
        stub.knobs.stream_failures.append(Failure(status, b'{"errorMessage":"gone"}'))
        stub.break_off("end")
        with pytest.raises(SourceError, match=f"status {status}, gone") as caught:
            async for _ in quotes:
                pass
    assert type(caught.value) is kind


async def test_an_account_must_be_named_where_there_are_several(stub: OandaStub) -> None:
    stub.knobs.accounts.append("101-004-1234567-002")
    with pytest.raises(SourceError, match=r"one must be named: 101-004-1234567-001, 101-004-1234567-002$"):
        await anext(source_at(stub).quotes())
    async with asyncio.timeout(30), aclosing(source_at(stub, account="101-004-1234567-002").quotes()) as quotes:
        await anext(quotes)
    assert "101-004-1234567-002" in stub.requests[-1].path
    stub.knobs.accounts.clear()
    with pytest.raises(SourceError, match=r"has no account$"):
        await anext(source_at(stub).quotes())


async def test_pairs_that_are_not_offered_are_left_out_and_named(stub: OandaStub, caplog: pytest.LogCaptureFixture) -> None:
    stub.knobs.not_offered = {"GBP_USD"}
    source = source_at(stub, ["EUR_USD", "GBP_USD", "USD_CNH"], silence=30)
    async with asyncio.timeout(30), aclosing(source.quotes()) as quotes:
        await anext(quotes)
    assert stub.requests[-1].query["instruments"] == "EUR_USD"
    assert "OANDA does not offer these pairs to this account: GBP_USD, USD_CNH" in caplog.text


async def test_pairs_with_other_decimals_are_named(
    stub: OandaStub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(INSTRUMENTS, "EUR_USD", 4)
    await _first_quote(source_at(stub))
    assert "OANDA quotes EUR_USD with 4 decimals instead of 5" in caplog.text
    assert "GBP_USD with" not in caplog.text


async def test_an_account_that_offers_none_of_the_pairs_is_told(stub: OandaStub) -> None:
    with pytest.raises(SourceError, match=r"offers none of the pairs to this account: USD_CNH, USD_HKD$"):
        await anext(source_at(stub, ["USD_CNH", "USD_HKD"]).quotes())


@pytest.mark.parametrize("token", ["", " \n", "two words", "naïve", "line\nbreak"])
def test_what_cannot_be_a_token_is_told_without_it(token: str) -> None:
    with pytest.raises(SourceError, match=r"^The OANDA token is empty, or has characters that no token has$"):
        source_at(OandaStub(), token=token, rest_url="http://localhost", stream_url="http://localhost")


@pytest.mark.parametrize(
    "url", ["localhost:80", "ftp://localhost", "http://", "http://user:secret@localhost", "http://localhost:x"]
)
def test_what_cannot_be_the_address_is_told_without_it(url: str) -> None:
    with pytest.raises(SourceError, match=r"^The address of OANDA's API is not an http or https URL without a password$"):
        source_at(OandaStub(), rest_url="http://localhost", stream_url=url)


async def test_white_space_around_the_token_is_not_part_of_it(stub: OandaStub) -> None:
    assert await _first_quote(source_at(stub, token=f" {TOKEN}\n"))


async def test_a_token_that_comes_back_is_not_told(stub: OandaStub, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    stub.knobs.rest_failures.append(Failure(400, b'{"errorMessage":"bad header\\nBearer ' + TOKEN.encode() + b'"}'))
    with pytest.raises(SourceError, match=r"status 400, bad header Bearer … \(RequestID") as caught:
        await _first_quote(source_at(stub))
    assert TOKEN not in caplog.text + str(caught.value)


async def test_a_proxy_of_the_environment_is_used(stub: OandaStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", stub.rest_url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(SourceRefused):  # by the stand-in, which does not expect the stream to come through it as well
        await _first_quote(source_at(stub, rest_url="http://oanda.invalid"))
    assert stub.requests[0].target == "http://oanda.invalid/v3/accounts"


async def test_a_proxy_that_cannot_be_used_is_told_without_its_password(stub: OandaStub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "ftp://user:secret@localhost")
    with pytest.raises(SourceError, match=r"^The proxies or certificates that the environment names cannot be used$"):
        await _first_quote(source_at(stub))
