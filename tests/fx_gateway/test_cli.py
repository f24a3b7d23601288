"""The command ``fx-gateway``, as users run it."""

import asyncio
import os
import signal
import socket
import time
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from app.realtime.log.log import open_redis
from tests.databases import on_postgres
from tests.gateways import command, new_command
from tests.private_valkey import PrivateValkey
from tests.waiting import wait_until


async def test_run_serves_simulated_prices_as_soon_as_it_is_ready(tmp_path: Path) -> None:
    began = time.monotonic()
    async with new_command("run", "--port", "0", "--data-dir", "data", cwd=tmp_path) as gateway:
        url = await gateway.ready_url()
        ready = time.monotonic()
        async with httpx.AsyncClient() as client, client.stream("GET", f"{url}/stream/EUR_USD") as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: ") and "price" in line:
                    break
        assert time.monotonic() - ready < ready - began, "the first price takes longer than to start"
        assert '"source":"simulated"' in line
        assert "SIMULATED" in gateway.text
        assert on_postgres() or (tmp_path / "data" / "gateway.db").stat().st_size > 0
        assert await gateway.stop() == 0
        assert "Traceback" not in gateway.text


async def test_ctrl_c_lets_clients_go_and_ends_without_a_word_of_trouble(tmp_path: Path) -> None:
    # Longer than the test waits for the process: a client that is not let go fails it.
    async with new_command("run", "--port", "0", "--data-dir", "data", cwd=tmp_path, SHUTDOWN_TIMEOUT="90") as gateway:
        url = await gateway.ready_url()
        async with httpx.AsyncClient() as client, client.stream("GET", f"{url}/stream?pairs=*") as stream:
            lines = stream.aiter_lines()
            assert await anext(lines) == "retry: 2000"
            stopping = asyncio.create_task(gateway.stop(signal.SIGINT))
            rest = [line async for line in lines]
        assert rest[-2].startswith("retry: ")
        assert await stopping == 0
        assert "WARNING" not in gateway.text
        assert "ERROR" not in gateway.text


async def test_prices_and_ids_go_on_after_a_restart_on_the_same_data(tmp_path: Path) -> None:
    cursors = []
    for _ in range(2):
        async with command("run", "--port", "0", "--data-dir", "data", cwd=tmp_path, SIMULATED_RATE="200") as gateway:
            url = await gateway.ready_url()
            async with httpx.AsyncClient(base_url=url) as client:
                await wait_until(lambda client=client: _has_prices(client), "there are prices")  # type: ignore[misc]
                events = (await client.get("/api/v1/events", params={"limit": "5"})).json()["events"]
                cursors.append(events[0]["id"])
    assert cursors[0] == cursors[1]


async def _has_prices(client: httpx.AsyncClient) -> bool:
    return bool((await client.get("/api/v1/prices/all")).json()["pair_count"] > 5)


async def test_a_replay_plays_its_files_and_names_its_source(tmp_path: Path, fx_data: Path) -> None:
    file = fx_data / "truefx" / "usdjpy-ticks.csv"
    arguments = ("run", "--port", "0", "--data-dir", "data", "--replay", file, "--speed", "100000")
    async with command(*arguments, cwd=tmp_path) as gateway:
        url = await gateway.ready_url()
        assert "replay prices" in gateway.text
        await wait_until(lambda: "1000 quotes of source replay published" in gateway.text, "the replay has ended", 30)
        last = file.read_text().splitlines()[-1].split(",")[1]
        async with httpx.AsyncClient(base_url=url) as client:

            async def shows_the_last_price() -> bool:
                price = (await client.get("/api/v1/prices/current", params={"instrument": "usdjpy"})).json()
                return (price["source"], price["price"]["bid"]) == ("replay", last)

            await wait_until(shows_the_last_price, "the last price of the file is served")


_ROLES = ("feed", "bridge", "recorder", "scheduler", "alerts")


async def test_the_roles_work_together_as_processes_of_their_own(valkey: PrivateValkey, tmp_path: Path) -> None:
    environment = {"REDIS_URL": valkey.url, "SIMULATED_RATE": "200"}
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(command("gateway", "--port", "0", cwd=tmp_path, **environment))
        roles = [await stack.enter_async_context(command(role, cwd=tmp_path, **environment)) for role in _ROLES]
        url = await gateway.ready_url()
        async with httpx.AsyncClient(base_url=url) as client, open_redis(valkey.url) as redis:
            await wait_until(lambda: _has_prices(client), "the feed's prices are served", 30)
            health = (await client.get("/health")).json()
            assert (health["source"], health["simulated"]) == ("simulated", True)

            async def has_bars() -> bool:
                answer = await client.get("/api/v1/candles/EUR_USD", params={"granularity": "M1"})
                return answer.status_code == 200 and (await client.get("/health")).json()["recorder"] is not None

            async def has_run_jobs() -> bool:
                runs = (await client.get("/api/v1/jobs")).json()["runs"]
                return {run["job"] for run in runs if run["status"] == "success"} >= {"hourly", "daily-correlation", "retention"}

            async def carries() -> bool:
                await redis.publish("data_ready", '{"data_type":"candles"}')
                return bool((await client.get("/api/v1/events", params={"types": "data_ready", "limit": 1000})).json()["events"])

            async def has_alerted() -> bool:
                return bool((await client.get("/api/v1/alerts", params={"type": "price_alert"})).json()["alerts"])

            await wait_until(has_bars, "the recorder makes bars", 60)
            await wait_until(has_run_jobs, "the scheduler has run all jobs", 60)
            await wait_until(carries, "the bridge carries messages", 60)
            level = {"instrument": "EUR_USD", "direction": "above", "level": "0.5"}
            assert (await client.post("/api/v1/alerts/levels", json=level)).status_code == 201
            await wait_until(has_alerted, "the alert watch has seen the level, and the recorder the alert", 60)
        for role in (*roles, gateway):
            assert await role.stop() == 0
            assert "Traceback" not in role.text


@pytest.mark.parametrize("role", ["gateway", *_ROLES])
async def test_a_role_without_a_redis_is_one_line_and_exit_code_2(role: str, tmp_path: Path) -> None:
    async with command(role, cwd=tmp_path) as process:
        assert await process.wait() == 2
        assert len(process.output) == 1
        assert process.text.startswith("fx-gateway: REDIS_URL: ")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"WEBSOCKET_MAX_CLIENTS": "many"}, "WEBSOCKET_MAX_CLIENTS: "),
        ({"WORKERS": "65"}, "WORKERS: "),
        ({"TRACKED_PAIRS": "EUR_USD,nonsense"}, "TRACKED_PAIRS: Invalid instrument: 'nonsense'"),
        ({"PUBLISH_TOKENS": "short-secret"}, "PUBLISH_TOKENS: a token needs at least 16 characters"),
        ({"SOURCE": "replay"}, "source replay needs files"),
        ({"SOURCE": "replay", "REPLAY_FILES": "missing.zip"}, "missing.zip"),
        ({"DATABASE_URL": "mysql://user:secret@host/db"}, "DATABASE_URL: postgresql:// or sqlite:// is needed"),
    ],
)
async def test_a_wrong_setting_is_one_line_and_exit_code_2(environment: dict[str, str], said: str, tmp_path: Path) -> None:
    async with command("run", "--port", "0", cwd=tmp_path, **environment) as process:
        assert await process.wait() == 2
        assert len(process.output) == 1
        assert said in process.text
        assert "secret" not in process.text


async def test_a_taken_port_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with command("run", "--port", str(port), cwd=tmp_path) as process:
            assert await process.wait() == 2
        assert process.output == [f"fx-gateway: cannot listen on 127.0.0.1:{port}: Address already in use"]


async def test_a_data_directory_in_use_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    async with command("run", "--port", "0", "--data-dir", "data", cwd=tmp_path) as first:
        await first.ready_url()
        async with command("run", "--port", "0", "--data-dir", "data", cwd=tmp_path) as second:
            assert await second.wait() == 2
        assert second.output == ["fx-gateway: DATA_DIR: data is in use by another gateway"]


async def test_an_option_that_does_not_exist_is_exit_code_2(tmp_path: Path) -> None:
    async with command("run", "--nonsense", cwd=tmp_path) as process:
        assert await process.wait() == 2
        assert "--nonsense" in process.text


async def test_watch_without_a_gateway_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    async with command("watch", "--url", f"http://127.0.0.1:{port}", cwd=tmp_path) as process:
        assert await process.wait() == 1
        assert process.output[-1].startswith("fx-gateway: ")


async def test_watch_shows_live_prices(tmp_path: Path) -> None:
    async with command("run", "--port", "0", "--data-dir", "data", cwd=tmp_path, SIMULATED_RATE="200") as gateway:
        url = await gateway.ready_url()
        async with command("watch", "EUR_USD", "--url", url, cwd=tmp_path, TERM="xterm", FORCE_COLOR="1") as watching:
            await wait_until(lambda: "EUR_USD" in watching.text and "SIMULATED" in watching.text, "prices are shown", 30)
            assert await watching.stop(signal.SIGINT) == 0


async def test_openapi_writes_both_specifications(tmp_path: Path) -> None:
    async with command("openapi", "--out", "specs", cwd=tmp_path) as process:
        assert await process.wait() == 0
    assert sorted(os.listdir(tmp_path / "specs")) == ["asyncapi.yaml", "openapi.json"]
