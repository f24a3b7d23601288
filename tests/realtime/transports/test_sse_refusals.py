"""Event streams that are refused: the answers, and what is left behind."""

from pathlib import Path

import orjson
import pytest

from app.realtime.contract.answers import Problem
from tests.gateways import gateway
from tests.realtime.listening import data_ready
from tests.realtime.stream_clients import open_stream, raw_stream
from tests.realtime.watching import watched
from tests.waiting import wait_until

REFUSED = [
    ("/stream/XXX_YYY", "Invalid instrument: XXX_YYY"),
    ("/stream/EUR", "Invalid instrument: EUR"),
    ("/stream/SEK_NOK", "Invalid instrument: SEK_NOK"),
    ("/stream/%00", "Invalid instrument: \x00"),
    ("/stream", "pairs: Field required"),
    ("/stream?pairs=", "Invalid instrument: "),
    ("/stream?pairs=EUR_USD,", "Invalid instrument: "),
    ("/stream?pairs=EUR_USD,XXX", "Invalid instrument: XXX"),
    ("/stream?pairs=" + "EUR_USD," * 1000 + "X", "Invalid instrument: X"),
    ("/stream/EUR_USD?last_event_id=x", "Invalid cursor: the id of an event is needed, like 1764000000000-0"),
    ("/stream/EUR_USD?last_event_id=18446744073709551616-0", "Invalid cursor"),
    ("/stream/EUR_USD?max_hz=0", "max_hz: Input should be greater than 0"),
    ("/stream/EUR_USD?max_hz=-1", "max_hz"),
    ("/stream/EUR_USD?max_hz=1001", "max_hz: Input should be less than or equal to 1000"),
    ("/stream/EUR_USD?max_hz=nan", "max_hz"),
    ("/stream/EUR_USD?max_hz=inf", "max_hz"),
    ("/stream/EUR_USD?max_hz=fast", "max_hz: Input should be a valid number"),
    ("/stream/EUR_USD?max_hz=", "max_hz"),
    ("/stream/EUR_USD?snapshot=perhaps", "snapshot: Input should be a valid boolean"),
    ("/stream?pairs=*&max_hz=0&snapshot=2", "snapshot"),
]


async def test_values_that_cannot_be_used_are_problems_that_say_so(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running:
        for path, detail in REFUSED:
            for accept in ("*/*", "text/event-stream"):
                async with raw_stream(running.url, path, Accept=accept, Connection="close") as stream:
                    assert (stream.status, stream.header("content-type")) == (400, "application/problem+json"), path
                    problem = orjson.loads(await stream.read_to_end())
                    assert detail in problem["detail"], path
                    assert (problem["error"], problem["status"]) == (problem["detail"], 400)
        async with raw_stream(running.url, "/stream/EUR_USD", Last_Event_ID="yesterday", Connection="close") as stream:
            assert stream.status == 400
        assert len(running.hub.clients) == 0


async def test_other_methods_are_not_answered(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running:
        for path in ("/stream/EUR_USD", "/stream?pairs=*"):
            for method in ("POST", "PUT", "DELETE", "PATCH"):
                async with raw_stream(running.url, path, method=method, Connection="close", Content_Length="0") as stream:
                    assert stream.status == 405, method
                    assert stream.header("allow") == "GET, HEAD"
        assert len(running.hub.clients) == 0


async def test_an_old_http_gets_its_stream_as_well(valkey_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with watched(valkey_url, tmp_path, caplog) as on:
        async with raw_stream(on.url, "/stream?pairs=*&snapshot=false", version="1.0") as stream:
            assert stream.status == 200
            assert (await stream.read_events(1))[0].type == "stream_opened"
            [id] = await on.traffic.publish(data_ready())
            ids = [event.last_id for event in (await stream.read_until(id))[1:]]
            place = on.traffic.ids.index(ids[0])
            assert ids[: ids.index(id)] == on.traffic.ids[place : on.traffic.ids.index(id)]
        await on.alone()


async def test_a_full_gateway_tells_programs_by_status_and_browsers_in_a_way_they_survive(
    valkey_url: str, tmp_path: Path
) -> None:
    async with gateway(valkey_url, tmp_path, websocket_max_clients=1) as running:
        async with open_stream(running.url, "/stream/EUR_USD"):
            async with raw_stream(running.url, "/stream/EUR_USD", Accept="*/*", Connection="close") as curl:
                assert (curl.status, curl.header("content-type")) == (503, "application/problem+json")
                problem = orjson.loads(await curl.read_to_end())
                assert problem["title"] == "Too many clients"
                assert problem["error"] == "Max clients reached: this gateway serves 1 at once"
            async with raw_stream(running.url, "/stream/EUR_USD", Accept="text/event-stream", Connection="close") as browser:
                assert browser.status == 200
                assert (browser.header("content-type") or "").startswith("text/event-stream")
                assert browser.header("cache-control") == "no-store, no-transform"
                await browser.read_to_end()
                [event] = browser.parser.events
                assert event.type == "server_error"
                assert Problem.model_validate(event.body).error == problem["error"]
                [retry] = browser.parser.retries
                assert 2000 <= retry < 10_000
                assert "id" not in event.body
            assert len(running.hub.clients) == 1
        await wait_until(lambda: len(running.hub.clients) == 0, "the stream is closed")
        async with open_stream(running.url, "/stream/EUR_USD"):
            assert len(running.hub.clients) == 1


async def test_a_stopping_gateway_is_no_reason_for_a_browser_to_give_up(valkey_url: str, tmp_path: Path) -> None:
    async with gateway(valkey_url, tmp_path) as running:
        running.app.stop_streaming()
        async with raw_stream(running.url, "/stream/EUR_USD", Connection="close") as curl:
            assert curl.status == 503
            assert orjson.loads(await curl.read_to_end())["error"] == "Try again shortly: the gateway is stopping"
        async with raw_stream(running.url, "/stream/EUR_USD", Accept="text/event-stream", Connection="close") as browser:
            assert browser.status == 200
            await browser.read_to_end()
            assert [event.type for event in browser.parser.events] == ["server_error"]


async def test_a_connection_that_was_refused_a_stream_can_be_used_on(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path, websocket_max_clients=1) as running,
        open_stream(running.url, "/stream/EUR_USD") as taken,
        raw_stream(running.url, "/stream/EUR_USD") as stream,
    ):
        assert stream.status == 503
        await stream.reader.readexactly(int(stream.header("content-length") or 0))
        taken.writer.close()
        await wait_until(lambda: len(running.hub.clients) == 0, "the place is free")
        stream.writer.write(b"GET /stream/EUR_USD HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.read_head()
        assert (await stream.read_events(1))[0].type == "stream_opened"
