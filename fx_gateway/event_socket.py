"""A connection to a gateway that carries its plain websocket."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from http import HTTPStatus
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from app.errors import SourceError
from fx_gateway.event_stream import Interrupted, StreamEvent, error_of

_CONNECTS_WITHIN = 5.0
_SILENT_AFTER = 45.0
_LARGEST_EVENT = 1_000_000

_RETRY_MS = 2000
"""Milliseconds to wait after a connection that the gateway did not close."""

_SCHEMES = {"http": "ws", "https": "wss"}


class EventSocket:
    """A connection that carries a plain websocket. ``retry_ms`` is None until it is open."""

    def __init__(self, url: str, pairs: Iterable[str], cursor: str) -> None:
        self.retry_ms: int | None = None
        self._url = url
        self._pairs = ",".join(pairs) or "*"
        self._cursor = cursor

    async def events(self) -> AsyncGenerator[StreamEvent]:
        """Yield the events of the connection. Raises Interrupted, or SourceError where retrying is pointless."""
        try:
            async with connect(
                self._address(), compression=None, max_size=_LARGEST_EVENT, open_timeout=_CONNECTS_WITHIN, ping_interval=None
            ) as socket:
                while True:
                    async with asyncio.timeout(_SILENT_AFTER):
                        text = await socket.recv()
                    yield self._event(text)
        except ConnectionClosed as closed:
            raise Interrupted("the gateway closed the connection" if closed.rcvd else "the connection broke off") from closed
        except InvalidStatus as refused:
            raise self._refusal(refused.response.status_code, bytes(refused.response.body or b"")) from refused
        except InvalidURI as error:
            raise SourceError(f"not the URL of a gateway: {self._url}") from error
        except TimeoutError as error:
            raise Interrupted("it does not answer in time") from error
        except (OSError, InvalidHandshake) as error:
            raise Interrupted(f"cannot connect: {error}") from error

    def _address(self) -> str:
        """The websocket's URL. Raises SourceError."""
        try:
            parts = urlsplit(self._url.rstrip("/"))
            scheme, _ = _SCHEMES[parts.scheme], parts.port
        except (ValueError, KeyError):
            raise SourceError(f"not the URL of a gateway: {self._url}") from None
        query = {"pairs": self._pairs} | ({"since": self._cursor} if self._cursor else {})
        return parts._replace(scheme=scheme, path=f"{parts.path}/ws", query=urlencode(query), fragment="").geturl()

    def _event(self, text: str | bytes) -> StreamEvent:
        try:
            message = json.loads(text)
            type, data, id = message["type"], message["data"], message.get("id")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Interrupted("a message that is no event") from error
        if not isinstance(type, str) or not isinstance(data, dict) or not isinstance(id, str | None):
            raise Interrupted("a message that is no event")
        if type == "stream_opened":
            self.retry_ms = _RETRY_MS
        elif type == "stream_closing" and isinstance(data.get("retry_ms"), int):
            self.retry_ms = data["retry_ms"]
        self._cursor = id or self._cursor
        return StreamEvent(type, json.dumps(data), self._cursor)

    def _refusal(self, status: int, body: bytes) -> Exception:
        reason = error_of(body) or f"status {status}"
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Interrupted(reason)
        return SourceError(f"{self._url} refuses the websocket: {reason}")
