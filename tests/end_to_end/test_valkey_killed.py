"""Valkey killed with -9 and started again on its data, while a replay runs and clients of every transport listen."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import orjson
import pytest

from app.realtime.contract.event import cursor_order
from app.realtime.log.log import EventLog, open_redis
from tests.end_to_end.recorders import Record, curl, node_eventsource, node_socketio, node_websocket, python_socketio
from tests.gateways import command
from tests.private_valkey import PrivateValkey
from tests.untraced import UNTRACED
from tests.waiting import wait_until

PAIRS = ("EUR_USD", "NZD_USD")
KILLS = 3


@pytest.mark.timeout(180)
async def test_no_client_is_disconnected_and_what_is_lost_is_announced(
    valkey: PrivateValkey, fx_data: Path, node: Path, tmp_path: Path
) -> None:
    files = [fx_data / "oanda" / "tick" / pair / "20140506_quote.zip" for pair in ("eurusd", "nzdusd")]
    # A client that gets no processor time for a while may read late and answer pings late.
    patience = {"SEND_BUFFER_BYTES": "4000000", "WEBSOCKET_PING_TIMEOUT": "120"}
    environment = {"REDIS_URL": valkey.url, "DATA_DIR": str(tmp_path), **patience, **UNTRACED}
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(command("gateway", "--port", "0", cwd=tmp_path, **environment))
        url = await gateway.ready_url()
        records = [Record(kind) for kind in ("python", "node websocket", "node polling", "node sse", "curl", "node plain")]
        clients = [
            python_socketio(url, PAIRS, None, records[0]),
            node_socketio(url, PAIRS, None, records[1], node, "websocket"),
            node_socketio(url, PAIRS, None, records[2], node, "polling"),
            node_eventsource(url, PAIRS, None, records[3], node),
            curl(url, PAIRS, None, records[4]),
            node_websocket(url, PAIRS, None, records[5], node),
        ]
        tasks = [asyncio.create_task(client) for client in clients]
        try:
            await wait_until(lambda: all(record.opened for record in records), "every client is subscribed", 60)
            replay = [argument for file in files for argument in ("--replay", str(file))]
            feed = await stack.enter_async_context(command("feed", *replay, "--speed", "600", cwd=tmp_path, **environment))
            for _ in range(KILLS):
                had = len(records[0].payloads)
                await wait_until(lambda had=had: len(records[0].payloads) > had + 1500, "prices flow", 60)  # type: ignore[misc]
                valkey.kill()
                valkey.start()
            had = len(records[0].payloads)
            await wait_until(lambda: len(records[0].payloads) > had + 1500, "prices flow again", 60)
            await feed.stop()
            logged = await _logged(valkey.url)

            def told() -> str:
                return "\n".join(["every client has the last tick:", *map(str, records)])

            await wait_until(lambda: all(record.closed or record.last_id == logged[-1] for record in records), told, 60)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        for record in records:
            assert len(record.opened) == 1, f"{record.kind} was disconnected"
            assert record.other == [], record
            orders = [cursor_order(id) for id in record.ids]
            assert orders == sorted(set(orders)), f"{record.kind}: ids do not rise"
            assert record.payloads == records[0].payloads, f"{record.kind} differs from {records[0].kind}"
            gaps = sum("before" in orjson.loads(payload) for payload in record.payloads)
            missing = set(logged) - set(record.ids)
            assert not missing, f"{record.kind}: {len(missing)} retained events were never delivered"
            assert gaps or record.ids == logged, f"{record.kind} lost events and was not told"
        assert "Traceback" not in gateway.text


async def _logged(valkey_url: str) -> list[str]:
    """The id of every price in the log, straight from the log."""
    async with open_redis(valkey_url) as redis:
        reader = EventLog(redis).reader()
        logged = []
        while events := await reader.read(5000):
            logged += [event.id for event in events if event.is_price]
        return logged
