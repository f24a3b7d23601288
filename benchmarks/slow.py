"""A client that reads too slowly: ``python -m benchmarks.slow TRANSPORT URL``.

``connect`` subscribes it to all pairs. ``read`` (``seconds``, ``share``) first reads everything for a second to measure the rate,
then only that share of it; it answers with the ages of the prices when they are read, in seconds.
"""

import json
import socket
import sys
import time
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from benchmarks.load import DIALECTS, masked

_STAMP = b'"timestamp":"'
_STAMP_LENGTH = len("2026-01-31T09:30:00.123456Z")
_ROOM = 16_384
_STEP = 0.02


class SlowReader:
    """One websocket client of Socket.IO."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._connection = socket.socket()
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _ROOM)
        self._connection.connect((address.hostname or "", address.port or 80))
        self._request = DIALECTS["websocket"].request.format(host=address.netloc).encode()

    def connect(self) -> None:
        """Open a session and subscribe."""
        self._connection.sendall(self._request)
        said = b""
        for awaited, answer in DIALECTS["websocket"].opening:
            while awaited not in said:
                if not (piece := self._connection.recv(_ROOM)):
                    raise SystemExit("the server closed the connection")
                said += piece
            said = said.partition(awaited)[2]
            if awaited.startswith(b"40"):
                answer = masked(b'42["subscribe",{"pairs":"*"}]')
            if answer:
                self._connection.sendall(answer)

    def read(self, seconds: float, share: float) -> dict[str, Any]:
        """Read at that share of the feed's rate, and return the ages of the prices."""
        began, received = time.monotonic(), 0
        while (now := time.monotonic()) < began + 1:
            received += len(self._connection.recv(_ROOM))
        allowed = share * received / (now - began)
        began, taken, tail, ages = now, 0, b"", list[float]()
        while (passed := time.monotonic() - began) < seconds:
            due = int(allowed * passed) - taken
            if due <= 0:
                time.sleep(_STEP)
                continue
            if not (piece := self._connection.recv(min(due, _ROOM))):
                break
            taken += len(piece)
            text = tail + piece
            at = time.time()
            place = after = 0
            while (place := text.find(_STAMP, after)) >= 0 and place + len(_STAMP) + _STAMP_LENGTH <= len(text):
                after = place + len(_STAMP) + _STAMP_LENGTH
                stamped = datetime.fromisoformat(text[place + len(_STAMP) : after].decode())
                ages.append(at - stamped.timestamp())
            tail = text[max(after, len(text) - _STAMP_LENGTH - len(_STAMP)) :]
        ages.sort()
        return {
            "prices": len(ages),
            "oldest": ages[-1] if ages else None,
            "p50": ages[len(ages) // 2] if ages else None,
            "closed": time.monotonic() - began < seconds,
        }


def obey(reader: SlowReader) -> None:
    """Carry out orders until standard input ends."""
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "connect":
            reader.connect()
        print(json.dumps(reader.read(order["seconds"], order["share"]) if order["do"] == "read" else {}), flush=True)


if __name__ == "__main__":
    obey(SlowReader(sys.argv[2]))
