"""A stock python-socketio client that prints what it gets: one line a price or alert, as JSON text.

usage: python socketio_client.py URL TRANSPORT PAIRS [SINCE]   (PAIRS is JSON: "*" or a list)
"""

import asyncio
import json
import sys
from typing import Any

import socketio


async def main(url: str, transport: str, pairs: str, since: str | None = None) -> None:
    """Subscribe and print until the connection ends."""
    client = socketio.AsyncClient(reconnection=False)

    def show(name: str, body: Any) -> None:
        sys.stdout.write(f"{name} {json.dumps(body, separators=(',', ':'))}\n")
        sys.stdout.flush()

    client.on("subscription_confirmed", lambda body: show("opened", body))
    for event in ("price_update", "volatility_alert", "correlation_alert", "data_ready", "gap"):
        client.on(event, lambda body, event=event: show(event, body))
    for event in ("connect_error", "subscription_error", "server_error"):
        client.on(event, lambda body, event=event: show(event, body))
    await client.connect(url, transports=[transport])
    await client.emit("subscribe", {"pairs": json.loads(pairs), **({"since": since} if since else {})})
    await client.wait()
    show("closed", {})


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
