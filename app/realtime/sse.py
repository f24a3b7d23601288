"""Server-Sent Events: the same events to ``curl -N`` and to a browser's EventSource."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable

import orjson
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import GatewayError
from app.market.clock import rfc3339, utc_now
from app.realtime.frames import CHUNKED_EVENT_STREAM, EVENT_STREAM
from app.realtime.hub import Held, Hub
from app.realtime.messages import StreamOpened
from app.realtime.subscription import Interest, Subscription
from app.realtime.wire import Wire, wire_of

RETRY_MS = 2000
"""What a client waits before it comes back, until the gateway advises otherwise."""

_STALLED_AFTER = 60.0


class EventStreamResponse(EventSourceResponse):
    """A stream of events for one client.

    Where the server offers a wire, the hub writes to the connection and this response only waits for its end: no task, no
    queue and no generator step per event. Elsewhere the events come through the client's outbox.
    """

    def __init__(
        self,
        hub: Hub,
        interest: Interest,
        *,
        since: str | None,
        held: Held | None,
        snapshot: bool,
        refuse: Callable[[GatewayError], Response],
    ) -> None:
        """``since`` is what the client asked to resume from and ``held`` what ``Hub.holds`` found; ``refuse`` answers a client
        for whom there is no place when the stream is about to begin."""
        super().__init__(
            self._fetched(),
            headers={"Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no"},
            media_type="text/event-stream; charset=utf-8",
            ping=0,
            send_timeout=_STALLED_AFTER,
        )
        self._hub = hub
        self._interest = interest
        self._since = since
        self._held = held
        self._snapshot = snapshot
        self._refuse = refuse
        self._something_waits = asyncio.Event()
        self._client: Subscription | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wire = wire_of(scope)
        direct = wire is not None and scope["http_version"] == "1.1"
        client = self._direct(wire) if direct and wire is not None else self._fetching(wire)
        try:
            self._hub.connect(client)
        except GatewayError as error:
            await self._refuse(error)(scope, receive, send)
            return
        try:
            if direct and wire is not None:
                self._hub.pause(client)  # nothing goes before the head, and that waits for whoever has not read what was before
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                if not client.closed:
                    self._begin(client, wire)
                while (await receive())["type"] != "http.disconnect":
                    pass
            else:
                self._open(client)
                try:
                    await super().__call__(scope, receive, send)
                except SendTimeoutError:
                    self._hub.cut(client, "not reading")
        finally:
            self._hub.disconnect(client)

    def _begin(self, client: Subscription, wire: Wire) -> None:
        client.take()  # what concerned everyone while the head was waiting
        self._hub.resume(client)
        wire.open(
            self._hub.bounds.send_buffer_bytes,
            full=lambda: self._hub.pause(client),
            room=lambda: self._hub.resume(client),
            gone=lambda: self._hub.disconnect(client),
        )
        self._open(client)

    def _open(self, client: Subscription) -> None:
        """Send what opens a stream, then the snapshot or the replay, then go live: one synchronous step."""
        self._client = client
        recovered = None if self._since is None else self._held is not None
        opened = StreamOpened(
            recovered=recovered,
            pairs=[name for name in self._hub.pairs.names if name in self._interest.pairs],
            cursor=self._held.cursor if self._held is not None else self._hub.cursor,
            timestamp=rfc3339(utc_now()),
        )
        body = orjson.dumps(opened.model_dump())
        client.send_frame(b"retry: %d\n%s" % (RETRY_MS, client.framing.message("stream_opened", body)))
        self._hub.follow(client, self._interest, held=self._held, snapshot=self._snapshot or recovered is False)

    def _direct(self, wire: Wire) -> Subscription:
        return Subscription(
            secrets.token_hex(8), "sse", CHUNKED_EVENT_STREAM, self._hub.bounds,
            write=wire.transport.write,
            cut=lambda _: wire.abort(),
            finish=lambda: wire.finish(b"" if self._client is None else _farewell_chunks()),
        )  # fmt: skip

    def _fetching(self, wire: Wire | None) -> Subscription:
        return Subscription(
            secrets.token_hex(8), "sse", EVENT_STREAM, self._hub.bounds,
            wake=self._something_waits.set, cut=lambda _: self._end() if wire is None else wire.abort(), finish=self._end,
        )  # fmt: skip

    def _end(self) -> None:
        self._something_waits.set()
        if self._client is not None:
            self._hub.disconnect(self._client)

    async def _fetched(self) -> AsyncIterator[bytes]:
        assert self._client is not None
        while not self._client.closed:
            self._something_waits.clear()
            frames = self._client.take()
            if frames:
                yield b"".join(frames)
            else:
                await self._something_waits.wait()
        yield _advice()


def _advice() -> bytes:
    """When to come back after a stop: each client at another moment, so that they do not all come at once."""
    return b"retry: %d\n\n" % (500 + secrets.randbelow(4500))


def _farewell_chunks() -> bytes:
    return CHUNKED_EVENT_STREAM.join([_advice()]) + b"0\r\n\r\n"
