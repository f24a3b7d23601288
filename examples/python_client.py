"""Prints prices and alerts, and resumes after a lost connection.

pip install "python-socketio[client]"
python python_client.py [URL] [PAIR ...]
"""
# mypy: allow-untyped-decorators

import sys
import threading
from typing import Any

import socketio

Data = dict[str, Any]

url, *pairs = sys.argv[1:] or ["http://localhost:5001"]
sio = socketio.Client()
last_id: str | None = None
lock = threading.Lock()


def show(text: str, event: Data | None = None) -> None:
    """Print a line, and keep the id of the newest event to resume from.

    This client handles each event on its own thread, so two may arrive here at once, or out of order.
    """
    global last_id
    with lock:
        print(text, flush=True)
        if event and "id" in event and (last_id is None or position(event["id"]) > position(last_id)):
            last_id = event["id"]


def position(id: str) -> list[int]:
    """Return an id as numbers, which sort as the log does."""
    return [int(number) for number in id.split("-")]


@sio.event
def connect() -> None:
    sio.emit("subscribe", {"pairs": pairs or ["EUR_USD", "GBP_USD"], "since": last_id})


@sio.event
def connection_established(data: Data) -> None:
    show(f"Connected with ID: {data['client_id']}")


@sio.event
def subscription_confirmed(data: Data) -> None:
    show(f"Subscribed to {data['pair_count']} pairs")
    if data["recovered"] is False:
        show("The missed events are no longer kept; the newest prices follow")


@sio.event
def price_update(data: Data) -> None:
    show(f"{data['instrument']}: {data['price']['mid']}{' (simulated)' if data['source'] == 'simulated' else ''}", data)


@sio.event
def volatility_alert(data: Data) -> None:
    show(f"{data['severity']}: {data['instrument']}: {data['message']}", data)


@sio.event
def correlation_alert(data: Data) -> None:
    show(f"{data['severity']}: Correlation {data['pair1']} <-> {data['pair2']}: {data['correlation']}", data)


@sio.event
def price_alert(data: Data) -> None:
    show(f"{data['severity']}: {data['message']}", data)


@sio.event
def source_changed(data: Data) -> None:
    show(f"Prices come from {data['source']} now: {data['reason']}", data)


@sio.event
def feed_status(data: Data) -> None:
    show(data["message"], data)


@sio.event
def data_ready(data: Data) -> None:
    show(data["message"], data)


@sio.event
def gap(data: Data) -> None:
    show(f"Gap: {data['message']}")


@sio.on("subscription_error")
@sio.on("server_error")
def problem(data: Data) -> None:
    show(f"Error: {data['error']} ({data['message']})")


@sio.event
def disconnect(reason: str) -> None:
    show(f"Disconnected: {reason}")


@sio.event
def connect_error(reason: Any) -> None:
    show(f"Not connected: {reason['message'] if isinstance(reason, dict) else reason}")


try:
    while True:
        try:
            sio.connect(url, retry=True)
            sio.wait()
        except socketio.exceptions.ConnectionError:
            pass  # connect_error has printed the reason
        sio.sleep(2)
except KeyboardInterrupt:
    sio.shutdown()
