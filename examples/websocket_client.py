"""Prints prices and alerts from a plain websocket, and resumes after a lost connection.

pip install websockets
python websocket_client.py [URL] [PAIR ...]
"""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

url, *pairs = sys.argv[1:] or ["http://localhost:5001"]
last_id: str | None = None


def show(type: str, data: dict[str, Any]) -> None:
    """Print one event."""
    match type:
        case "stream_opened":
            print(f"Subscribed to {len(data['pairs'])} pairs", flush=True)
            if data["recovered"] is False:
                print("The missed events are no longer kept; the newest prices follow", flush=True)
        case "price_update":
            simulated = " (simulated)" if data["source"] == "simulated" else ""
            print(f"{data['instrument']}: {data['price']['mid']}{simulated}", flush=True)
        case "volatility_alert":
            print(f"{data['severity']}: {data['instrument']}: {data['message']}", flush=True)
        case "correlation_alert":
            print(f"{data['severity']}: Correlation {data['pair1']} <-> {data['pair2']}: {data['correlation']}", flush=True)
        case "price_alert":
            print(f"{data['severity']}: {data['message']}", flush=True)
        case "source_changed":
            print(f"Prices come from {data['source']} now: {data['reason']}", flush=True)
        case "feed_status" | "data_ready" | "stream_closing":
            print(data["message"], flush=True)
        case "gap":
            print(f"Gap: {data['message']}", flush=True)


async def listen() -> None:
    """Follow the pairs until the connection is lost."""
    global last_id
    query = {"pairs": ",".join(pairs or ["EUR_USD", "GBP_USD"])} | ({"since": last_id} if last_id else {})
    address = f"{url.replace('http', 'ws', 1)}/ws?{urlencode(query)}"
    async with connect(address, compression=None, close_timeout=2) as socket:
        async for text in socket:
            message = json.loads(text)
            last_id = message.get("id", last_id)  # an event without an id is no position to resume from
            show(message["type"], message["data"])


async def main() -> None:
    """Listen for ever."""
    while True:
        try:
            await listen()
            print("Disconnected: the gateway has closed the connection", flush=True)
        except ConnectionClosed as closed:
            print(f"Disconnected: {closed}", flush=True)
        except InvalidStatus as refused:
            problem = json.loads(refused.response.body or b"{}")
            print(f"Not connected: {problem.get('error', refused)}", flush=True)
            if refused.response.status_code in (400, 422):
                print(f"Error: {problem['error']} ({problem['message']})", flush=True)
        except (OSError, InvalidHandshake) as error:
            print(f"Not connected: {error}", flush=True)
        await asyncio.sleep(2)


with suppress(KeyboardInterrupt):
    asyncio.run(main())
