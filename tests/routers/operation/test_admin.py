"""``/admin/state`` as an operator's page asks for it: of gateways that real clients are connected to."""

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import httpx
import pytest_asyncio

from app.market.clock import parse_time, utc_now
from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.heartbeat import FeedHeartbeat, RecorderHeartbeat, heartbeat
from app.realtime.log.log import EventLog, open_redis
from app.routers.operation.admin import AdminState
from tests.gateways import RunningGateway, gateway
from tests.private_valkey import PrivateValkey
from tests.realtime.listening import tick
from tests.realtime.plain_clients import plain_socket
from tests.realtime.socket_clients import POLLING, WEBSOCKET, raw_polling, stock_client
from tests.realtime.stream_clients import RELUCTANTLY, open_stream, raw_stream
from tests.routers.running import assert_problem
from tests.run.test_workers import gateway as gateway_of_workers
from tests.waiting import wait_until

_CLOSED = "The operator page is closed: this gateway has no ADMIN_TOKENS"

PATH = "/admin/state"
TOKEN = "a token of the operator"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest_asyncio.fixture
async def running(valkey_url: str, tmp_path: Path) -> AsyncGenerator[RunningGateway]:
    """A gateway with a token for operators, which holds little back for a client that does not read."""
    async with gateway(valkey_url, tmp_path, admin_tokens=("another one of this gateway", TOKEN), send_buffer_bytes=4096) as one:
        yield one


async def state(url: str) -> AdminState:
    """The live state for operators."""
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        response = await http.get(PATH, headers=BEARER)
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    return AdminState.model_validate(response.json())


async def test_clients_are_counted_by_transport_and_what_they_follow_by_pair(running: RunningGateway, valkey_url: str) -> None:
    async with (
        open_redis(valkey_url) as redis,
        stock_client(running.url, WEBSOCKET) as socket,
        stock_client(running.url, POLLING) as polling,
        open_stream(running.url, "/stream?pairs=EUR_USD,USD_JPY") as stream,
        plain_socket(running.url, "?pairs=EUR_USD") as plain,
    ):
        await socket.call("subscribe", {"pairs": "*"})
        await polling.call("subscribe", {"pairs": ["EUR_USD"]})
        before = await state(running.url)
        [id] = await EventLog(redis).publisher().publish([tick("EUR_USD")])
        await stream.read_until(id)
        await plain.read_until(id)
        for client in (socket, polling):
            await wait_until(lambda: client.ids == [id], "the price is there")  # noqa: B023
        after = await state(running.url)
    assert after.clients.total == 4
    assert after.clients.by_transport == after.clients.connected == {"websocket": 1, "polling": 1, "sse": 1, "plain": 1}
    assert (after.clients.max, after.clients.lagging, sum(after.clients.cut_off.values())) == (1000, 0, 0)
    assert list(after.subscriptions) == list(DEFAULT_PAIRS)
    assert after.subscriptions == {**dict.fromkeys(DEFAULT_PAIRS, 1), "EUR_USD": 4, "USD_JPY": 2}
    assert after.totals.deliveries - before.totals.deliveries == 4
    assert 300 < after.totals.bytes - before.totals.bytes < 3000
    assert after.totals.events - before.totals.events == 1
    assert after.totals.at > before.totals.at
    assert (after.log.cursor, after.log.seq, after.log.gaps, after.log.fault) == (id, after.totals.events, 0, None)
    assert after.log.length == after.log.seq
    assert after.log.memory_bytes is not None
    assert 0 < after.log.memory_bytes < 1_000_000
    assert after.log.age_ms is not None
    assert after.log.age_ms < 10_000
    assert after.log.events_per_second >= 0.1
    await wait_until(lambda: len(running.hub.clients) == 0, "all have gone")

    async def no_client_follows() -> bool:
        none = await state(running.url)
        return none.clients.total == 0 and set(none.subscriptions.values()) == {0}

    await wait_until(no_client_follows, "the next report says so")


async def test_the_gateway_tells_of_itself(running: RunningGateway) -> None:
    told = await state(running.url)
    assert told.gateway.version == running.app.version
    assert timedelta() < utc_now() - parse_time(told.gateway.started) < timedelta(seconds=60)
    assert 0 < told.gateway.uptime_seconds < 60
    [worker] = told.gateway.workers
    assert (worker.worker, worker.clients, worker.reports, worker.log_behind_events) == (1, 0, True, 0)
    assert told.totals.memory_bytes == worker.memory_bytes > 1_000_000
    assert told.totals.cpu_seconds == worker.cpu_seconds > 0
    assert (await state(running.url)).totals.cpu_seconds > told.totals.cpu_seconds


async def test_the_feed_and_the_recorder_are_told_of_once_they_were_heard(running: RunningGateway, valkey_url: str) -> None:
    before = await state(running.url)
    assert (before.feed.source, before.feed.simulated, before.feed.status) == ("simulated", None, "none")
    assert (before.feed.price_age_ms, before.feed.sources, before.recorder) == (None, {}, None)
    async with open_redis(valkey_url) as redis:
        publisher = EventLog(redis).publisher()
        sources = {"oanda": "silent", "kraken": "active"}
        sign = heartbeat(FeedHeartbeat(node="a", source="kraken", simulated=False, sources=sources, dropped={"crossed": 3}))
        await publisher.publish([sign, tick("EUR_USD")])
        recorder = RecorderHeartbeat(node="b", cursor="1-0", lost=2, losses_of_unknown_size=1, late=3, refused=3)
        await publisher.publish([heartbeat(recorder)])
    await wait_until(lambda: running.hub.signs.recorder is not None, "both have been heard")
    after = await state(running.url)
    assert (after.feed.source, after.feed.simulated, after.feed.status) == ("kraken", False, "live")
    assert (after.feed.sources, after.feed.dropped) == (sources, {"crossed": 3})
    assert after.feed.silent_pairs == []
    assert after.feed.price_age_ms is not None
    assert after.feed.price_age_ms < 10_000
    assert after.recorder is not None
    assert (after.recorder.behind_events, after.recorder.lost_events) == (running.hub.seq, 2)
    assert after.recorder.refused_events == 3
    assert (after.recorder.losses_of_unknown_size, after.recorder.late_quotes) == (1, 3)


async def test_jobs_are_told_of_with_when_they_are_due(running: RunningGateway) -> None:
    now = utc_now()
    runs = running.app.state.gateway.stores.job_runs
    first = await runs.start("hourly", now - timedelta(minutes=10))
    await runs.finish(first, now - timedelta(minutes=10) + timedelta(seconds=3), "partial", 19, "EUR_USD: no bars")
    await runs.start("daily-correlation", now - timedelta(minutes=5))
    told = (await state(running.url)).jobs

    async def the_database_answers() -> bool:
        nonlocal told
        told = (await state(running.url)).jobs
        return told.runs is not None

    await wait_until(the_database_answers, "the database answers in time", 30)
    running_now, partial = told.runs or []
    assert (running_now.job, running_now.status) == ("daily-correlation", "running")
    assert 300_000 <= running_now.duration_ms < 400_000
    assert (partial.job, partial.status, partial.duration_ms, partial.records) == ("hourly", "partial", 3000, 19)
    assert partial.error == "EUR_USD: no bars"
    assert set(told.due) == {"hourly", "daily-correlation", "retention"}
    assert now < parse_time(told.due["hourly"]) < now + timedelta(hours=1, seconds=30)


async def test_a_client_that_stops_reading_is_among_the_laggards(running: RunningGateway, valkey_url: str) -> None:
    async with (
        open_redis(valkey_url) as redis,
        raw_stream(running.url, "/stream?pairs=*", RELUCTANTLY),
    ):
        publisher = EventLog(redis).publisher()

        async def lags() -> bool:
            await publisher.publish([tick(pair) for pair in DEFAULT_PAIRS] * 10)
            told = await state(running.url)
            conflated = told.clients.lagging == 1 and told.totals.conflated > 0
            return conflated and [laggard.queued_bytes > 4096 and laggard.behind_ms > 0 for laggard in told.laggards] == [True]

        await wait_until(lags, "the stream that is not read lags", 30)
        [laggard] = (told := await state(running.url)).laggards
        assert (laggard.transport, laggard.worker, laggard.pairs, laggard.replaying) == ("sse", 1, 20, False)
        assert laggard.behind_ms > 0
        assert laggard.lagging_ms > 0
        assert laggard.behind_events is None or laggard.behind_events > 0
        assert any(client.name.startswith(laggard.client) for client in running.hub.clients)
        assert utc_now() - parse_time(laggard.connected) < timedelta(seconds=60)
        assert told.totals.conflated > 0
        assert told.clients.queued_bytes > 0


async def test_no_more_of_a_session_is_told_than_its_name_begins_with(running: RunningGateway, valkey_url: str) -> None:
    async with raw_polling(running.url, joined=True) as polling, open_redis(valkey_url) as redis:
        await polling.send('42["subscribe",{"pairs":"*"}]')
        [id] = await EventLog(redis).publisher().publish([tick("EUR_USD")])
        await wait_until(lambda: running.hub.cursor == id, "the price waits for the client")
        [laggard] = (await state(running.url)).laggards
    assert len(laggard.client) == 8
    assert polling.sid.startswith(laggard.client)
    assert (laggard.transport, laggard.lagging_ms) == ("polling", 0)


async def test_two_workers_answer_for_both(valkey_url: str, tmp_path: Path) -> None:
    tokens = {"ADMIN_TOKENS": TOKEN, "SEND_BUFFER_BYTES": "4096"}
    async with gateway_of_workers(valkey_url, tmp_path, workers=2, **tokens) as (_, url), AsyncExitStack() as stack:
        number = 0
        while number < 4 or 0 in [worker.clients for worker in (await state(url)).gateway.workers]:
            await stack.enter_async_context(raw_stream(url, "/stream?pairs=EUR_USD", RELUCTANTLY))
            number += 1
        redis = await stack.enter_async_context(open_redis(valkey_url))
        publisher = EventLog(redis).publisher()

        async def lag_at_both() -> bool:
            await publisher.publish([tick("EUR_USD") for _ in range(200)])
            told = await state(url)
            return {laggard.worker for laggard in told.laggards} == {1, 2} and told.subscriptions["EUR_USD"] == number

        await wait_until(lag_at_both, "clients of both workers lag", 40)
        told = await state(url)
        assert [worker.worker for worker in told.gateway.workers if worker.reports] == [1, 2]
        assert sum(worker.clients for worker in told.gateway.workers) == told.clients.total == number
        assert told.subscriptions == {**dict.fromkeys(DEFAULT_PAIRS, 0), "EUR_USD": number}
        starts = {(await state(url)).gateway.started for _ in range(6)}  # whichever worker answers
        assert len(starts) == 1


async def test_it_answers_without_redis_and_without_the_database(valkey: PrivateValkey, tmp_path: Path) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    async with gateway(valkey.url, tmp_path, admin_tokens=(TOKEN,), database_url=nowhere) as running:
        valkey.kill()
        await wait_until(lambda: running.hub.log_fault is not None, "the loss is noticed", 30)
        told = await state(running.url)
    assert (told.jobs.runs, told.log.length, told.log.memory_bytes) == (None, None, None)
    assert told.log.fault is not None
    assert told.log.fault.startswith("Redis does not answer")


async def test_who_has_no_token_is_refused(running: RunningGateway) -> None:
    async with httpx.AsyncClient(base_url=running.url, trust_env=False) as http:
        assert_problem(await http.get(PATH), 401, "Unauthorized", detail="A bearer token is needed")
        for wrong in ("Bearer unknown", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x"):
            refused = await http.get(PATH, headers={"Authorization": wrong})
            assert_problem(refused, 401, "Unauthorized")
            assert refused.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in (await http.get(PATH, params={"token": TOKEN})).text
        assert_problem(await http.get(PATH, params={"token": TOKEN}), 422, "Unknown parameter")


async def test_without_the_setting_it_is_closed(valkey_url: str, tmp_path: Path) -> None:
    publish = "a token of another right"
    async with (
        gateway(valkey_url, tmp_path, publish_tokens=(publish,), alert_tokens=(publish,)) as running,
        httpx.AsyncClient(base_url=running.url, trust_env=False) as http,
    ):
        for headers in ({}, {"Authorization": f"Bearer {publish}"}):
            assert_problem(await http.get(PATH, headers=headers), 403, "Forbidden", detail=_CLOSED)
        page = await http.get("/admin", headers={"Accept": "text/html"})
    assert (page.status_code, page.text) == (403, f"{_CLOSED}.\n")
    assert page.headers["content-type"].startswith("text/plain")


async def test_the_limit_of_requests_counts_it_and_guesses_at_a_token_too(valkey_url: str, tmp_path: Path) -> None:
    async with (
        gateway(valkey_url, tmp_path, admin_tokens=(TOKEN,), rate_limit_requests=3) as running,
        httpx.AsyncClient(base_url=running.url, trust_env=False) as http,
    ):
        answers = [await http.get(PATH, headers={"Authorization": f"Bearer {guess}"}) for guess in ("a", "b", TOKEN, TOKEN)]
    assert [answer.status_code for answer in answers] == [401, 401, 200, 429]
