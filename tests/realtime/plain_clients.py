"""A client of plain websockets for tests of the transports: what it sends is what a test wants, and it keeps what it is sent."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from app.realtime.contract.compact import CompactPrice


class PlainMessage(NamedTuple):
    """A message of the gateway."""

    type: str
    id: str | None
    data: Any


class PlainSocket:
    """A plain websocket that reads when it is told."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[PlainMessage] = []
        self.texts: list[str] = []

    async def send(self, type: str, data: object = None) -> None:
        """Send an event."""
        await self.connection.send(orjson.dumps({"type": type, "data": data}).decode())

    async def read(self, timeout: float = 10) -> PlainMessage:
        """The next message."""
        async with asyncio.timeout(timeout):
            text = await self.connection.recv()
        assert isinstance(text, str), "messages are text"
        self.texts.append(text)
        body = orjson.loads(text)
        if isinstance(body, list):  # a compact price
            CompactPrice.model_validate(body)
            id = f"{body[3] + body[4]}-{body[5]}" if len(body) > 4 else None
            self.received.append(PlainMessage("price_update", id, body))
            return self.received[-1]
        assert list(body) in (["type", "data"], ["type", "id", "data"])
        self.received.append(PlainMessage(body["type"], body.get("id"), body["data"]))
        return self.received[-1]

    async def next(self, type: str, timeout: float = 10) -> Any:
        """The data of the next message of this type."""
        async with asyncio.timeout(timeout):
            while (message := await self.read()).type != type:
                pass
        return message.data

    async def ask(self, type: str, answer: str, data: object = None) -> Any:
        """Send an event and give the data of the one that answers it."""
        await self.send(type, data)
        return await self.next(answer)

    async def read_until(self, id: str, timeout: float = 30) -> list[str]:
        """Read until the event with this id is there, and give the ids of all events of the log."""
        async with asyncio.timeout(timeout):
            while not self.ids or self.ids[-1] != id:
                await self.read(timeout)
        return self.ids

    @property
    def ids(self) -> list[str]:
        """The ids that came with events of the log, in order."""
        others = ("stream_opened", "heartbeat")
        return [message.id for message in self.received if message.id is not None and message.type not in others]

    @property
    def opened(self) -> PlainMessage:
        """The first message."""
        assert self.received[0].type == "stream_opened"
        return self.received[0]

    async def end(self, timeout: float = 10) -> tuple[int | None, str | None]:
        """Read until the connection has ended, and give the close code and the reason."""
        with suppress(ConnectionClosed):
            while True:
                await self.read(timeout)
        await self.connection.wait_closed()
        return self.connection.close_code, self.connection.close_reason


@asynccontextmanager
async def plain_socket(url: str, query: str, **options: Any) -> AsyncGenerator[PlainSocket]:
    """A plain websocket whose first message has been read."""
    options = {"compression": None, "max_size": None, "ping_interval": None, "proxy": None, **options}
    async with connect(f"{url.replace('http', 'ws', 1)}/ws{query}", **options) as connection:
        socket = PlainSocket(connection)
        await socket.read()
        yield socket


async def plain_refusal(url: str, query: str, **options: Any) -> tuple[int, Any]:
    """The status and the body with which a plain websocket is refused."""
    try:
        async with plain_socket(url, query, **options):
            raise AssertionError("the client was let in")
    except InvalidStatus as refused:
        return refused.response.status_code, orjson.loads(refused.response.body or b"null")
