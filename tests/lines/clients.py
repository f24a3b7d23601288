"""Raw clients of each transport: they read all there is at once, and resume from the last id as clients do."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import aiohttp
import orjson

from tests.lines.line import Line
from tests.lines.record import Record

_PAUSE = 1.0
"""Seconds before a client connects again; an event stream names its own."""
_CLOSE_WITHIN = 0.1
_PACKETS_END = "\x1e"


@dataclass
class Client:
    """What a client needs to follow prices."""

    line: Line
    http: aiohttp.ClientSession
    record: Record
    pairs: str = "*"
    compact: bool = False
    pause: float = _PAUSE

    def subscription(self) -> str:
        """Return the packet of Socket.IO that subscribes."""
        request: dict[str, object] = {"pairs": self.pairs if self.pairs == "*" else self.pairs.split(",")}
        if self.record.since is not None:
            request["since"] = self.record.since
        if self.compact:
            request["format"] = "compact"
        return "42" + json.dumps(["subscribe", request], separators=(",", ":"))

    def parameters(self) -> dict[str, str]:
        """Return the query of a stream."""
        return {"pairs": self.pairs, **({"format": "compact"} if self.compact else {})}

    def take_packet(self, packet: str) -> None:
        """Take in a packet of Socket.IO that may be an event."""
        self.record.bytes += len(packet)
        if packet.startswith("42["):
            name, *bodies = orjson.loads(packet[2:])
            if name == "subscription_confirmed":
                self.record.opened(bodies[0])
            elif name in ("subscription_error", "server_error"):
                raise Ended(f"{name}: {bodies[0]['error']}")
            else:
                self.record.take(name, bodies[0])


class Ended(Exception):
    """A connection has ended; the message says why."""


class Patience:
    """The time that a client of Engine.IO waits for the next ping, after which it gives the connection up."""

    def __init__(self, limit: asyncio.Timeout, opening: str) -> None:
        handshake = orjson.loads(opening[1:])
        self.sid = handshake["sid"]
        self._limit = limit
        self._seconds = (handshake["pingInterval"] + handshake["pingTimeout"]) / 1000
        self.renew()

    def renew(self) -> None:
        """Wait anew: there was a ping."""
        self._limit.reschedule(asyncio.get_running_loop().time() + self._seconds)


async def websocket(client: Client) -> None:
    """Follow one connection of Socket.IO over a websocket. Raises Ended."""
    async with asyncio.timeout(None) as limit:
        async with _connected(client, "/socket.io/?EIO=4&transport=websocket") as connection:
            patience = Patience(limit, await _text(connection))
            await connection.send_str("40")
            while True:
                packet = await _text(connection)
                if packet == "2":
                    patience.renew()
                    await connection.send_str("3")
                elif packet.startswith("40"):
                    await connection.send_str(client.subscription())
                else:
                    client.take_packet(packet)


async def plain(client: Client) -> None:
    """Follow one connection of the plain websocket. Raises Ended."""
    query = "&".join(f"{name}={value}" for name, value in client.parameters().items())
    since = f"&since={client.record.since}" if client.record.since else ""
    async with _connected(client, f"/ws?{query}{since}") as connection:
        while True:
            text = await _text(connection)
            client.record.bytes += len(text)
            message = orjson.loads(text)
            if isinstance(message, list):
                client.record.take("price_update", message)
            elif message["type"] == "stream_opened":
                client.record.opened(message["data"])
            else:
                client.record.take(message["type"], message.get("data"), id=message.get("id"))


async def polling(client: Client) -> None:
    """Follow one session of Socket.IO over polling. Raises Ended."""
    async with asyncio.timeout(None) as limit, asyncio.TaskGroup() as posts:
        patience = Patience(limit, await _poll(client, {}))
        session = {"sid": patience.sid}
        await _post(client, session, "40")
        while True:
            for packet in (await _poll(client, session)).split(_PACKETS_END):
                if packet == "1":
                    raise Ended("closed by the server")
                if packet == "2":
                    patience.renew()
                    posts.create_task(_post(client, session, "3"))
                elif packet.startswith("40"):
                    posts.create_task(_post(client, session, client.subscription()))
                else:
                    client.take_packet(packet)


async def stream(client: Client) -> None:
    """Follow one event stream. Raises Ended."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": client.record.since} if client.record.since else {})}
    address = f"{client.line.url}/stream"
    async with client.http.get(address, params=client.parameters(), headers=headers) as answer:
        if answer.status != 200:
            raise Ended(f"refused with {answer.status}")
        blocks = _Blocks(client)
        async for piece in answer.content.iter_any():
            client.record.bytes += len(piece)
            blocks.feed(piece.decode())
    raise Ended("the stream ended")


class _Blocks:
    """What an EventSource reads, so far as the gateway writes it: WHATWG HTML, section 9.2.6."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._rest = ""
        self._fields: dict[str, str] = {}

    def feed(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if line:
                name, _, value = line.partition(":")
                self._fields[name] = value.removeprefix(" ")
            else:
                self._dispatch(self._fields)
                self._fields = {}

    def _dispatch(self, fields: Mapping[str, str]) -> None:
        record = self._client.record
        if "retry" in fields:
            self._client.pause = int(fields["retry"]) / 1000
        if "data" not in fields:
            return
        name, body = fields.get("event", "message"), orjson.loads(fields["data"])
        if name == "stream_opened":
            record.opened(body)
        elif name == "server_error":
            raise Ended(f"refused: {body['error']}")
        else:
            record.take("price_update" if name == "message" else name, body, id=fields.get("id"))


TRANSPORTS: Mapping[str, Callable[[Client], Awaitable[None]]] = {
    "websocket": websocket,
    "polling": polling,
    "sse": stream,
    "plain": plain,
}


async def keep_following(transport: str, client: Client) -> None:
    """Follow until cancelled, over as many connections as it takes."""
    while True:
        try:
            await TRANSPORTS[transport](client)
        except* Ended as ended:
            client.record.cut(str(ended.exceptions[0]))
        except* TimeoutError:
            client.record.cut("no ping in time")
        except* (aiohttp.ClientError, ConnectionError) as failed:
            client.record.cut(f"{type(failed.exceptions[0]).__name__}: {failed.exceptions[0]}")
        await asyncio.sleep(client.pause)


def session_over(line: Line) -> aiohttp.ClientSession:
    """Return an HTTP client whose connections use a line."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(socket_factory=line.new_socket, force_close=False, limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=60),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
    )


def _connected(client: Client, path: str) -> AbstractAsyncContextManager["aiohttp.ClientWebSocketResponse[bool]"]:
    return client.http.ws_connect(client.line.url + path, max_msg_size=0, timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_WITHIN))


async def _text(connection: "aiohttp.ClientWebSocketResponse[bool]") -> str:
    message = await connection.receive()
    if message.type is not aiohttp.WSMsgType.TEXT:
        raise Ended(f"closed with {connection.close_code}")
    text: str = message.data
    return text


async def _poll(client: Client, session: Mapping[str, str]) -> str:
    async with client.http.get(_engine(client), params=_query(session)) as answer:
        return await _checked(answer)


async def _post(client: Client, session: Mapping[str, str], packet: str) -> None:
    async with client.http.post(_engine(client), params=_query(session), data=packet) as answer:
        await _checked(answer)


def _engine(client: Client) -> str:
    return f"{client.line.url}/socket.io/"


def _query(session: Mapping[str, str]) -> dict[str, str]:
    return {"EIO": "4", "transport": "polling", **session}


async def _checked(answer: aiohttp.ClientResponse) -> str:
    text = await answer.text()
    if answer.status != 200:
        raise Ended(f"refused with {answer.status}: {text[:60]}")
    return text
