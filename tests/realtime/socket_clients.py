"""Socket.IO clients for tests of the transports: the stock one, and one that sends whatever a test wants."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import httpx
import orjson
import socketio
from socketio.exceptions import ConnectionError as NotConnected
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.waiting import wait_until

WEBSOCKET, POLLING, UPGRADE = ("websocket",), ("polling",), ("polling", "websocket")

EVENTS_OF_THE_LOG = ("price_update", "volatility_alert", "correlation_alert", "data_ready", "gap")

UPGRADE_HEADERS = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
}

Received = tuple[str, Any]
"""An event and its body."""


class _ReadAtOnce(aiohttp.ClientResponse):
    """The stock client never reads what answers its POSTs, which aiohttp complains of when the session is closed."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        response = await super().start(connection)
        if self.method == "POST":
            await self.read()
        return response


class StockClient:
    """python-socketio's own client. It keeps what it is sent, in order."""

    def __init__(self, transports: Sequence[str]) -> None:
        self._transports = list(transports)
        self._taken: Counter[str] = Counter()
        self.received: list[Received] = []
        self.refused: object = None
        self.gone: str | None = None
        self._http = aiohttp.ClientSession(response_class=_ReadAtOnce)
        self.client = socketio.AsyncClient(reconnection=False, handle_sigint=False, http_session=self._http)
        self.client.on("*", self._receive)
        self.client.on("connect_error", self._be_refused)
        self.client.on("disconnect", self._be_gone)

    async def connect(self, url: str, **options: Any) -> None:
        """Connect, or raise what the stock client raises."""
        await self.client.connect(url, transports=self._transports, **{"wait_timeout": 10, **options})

    async def disconnect(self) -> None:
        """Disconnect politely."""
        if self.client.connected:
            await self.client.eio.queue.join()  # while a request is under way the stock client loses its goodbye
        await self.client.disconnect()
        await self._http.close()

    async def emit(self, event: str, *body: object) -> None:
        """Send an event without asking for an acknowledgement."""
        await self.client.emit(event, *body)

    async def call(self, event: str, *body: object) -> Any:
        """Send an event and give its acknowledgement."""
        return await self.client.call(event, *body, timeout=10)

    async def ask(self, event: str, answer: str, *body: object) -> Any:
        """Send an event and give the event that answers it."""
        self._taken[answer] = len(self.bodies(answer))
        await self.emit(event, *body)
        return await self.next(answer)

    async def next(self, name: str, timeout: float = 10) -> Any:
        """The next event of this name that has not been returned yet."""
        await wait_until(lambda: len(self.bodies(name)) > self._taken[name], f"{name} after {self.received[-5:]}", timeout)
        self._taken[name] += 1
        return self.bodies(name)[self._taken[name] - 1]

    def bodies(self, *names: str) -> list[Any]:
        """The bodies of all events of these names."""
        return [body for name, body in self.received if name in names]

    @property
    def names(self) -> list[str]:
        """What came, in order."""
        return [name for name, _ in self.received]

    @property
    def ids(self) -> list[str]:
        """The ids of the events of the log, in order."""
        return [body["id"] for body in self.bodies(*EVENTS_OF_THE_LOG) if "id" in body]

    def _receive(self, event: str, body: object = None) -> None:
        self.received.append((event, body))

    def _be_refused(self, reason: object) -> None:
        self.refused = reason

    def _be_gone(self, reason: str) -> None:
        self.gone = reason


@asynccontextmanager
async def stock_client(url: str, transports: Sequence[str] = WEBSOCKET, **options: Any) -> AsyncGenerator[StockClient]:
    """A stock client that is connected."""
    client = StockClient(transports)
    try:
        await client.connect(url, **options)
        await client.next("connection_established")
        yield client
    finally:
        await client.disconnect()


async def refusal(url: str, transports: Sequence[str]) -> object:
    """What a stock client is told that is not let in."""
    client = StockClient(transports)
    try:
        await client.connect(url)
    except NotConnected:
        return client.refused
    finally:
        await client.disconnect()
    raise AssertionError("the client was let in")


class RawSocket:
    """A websocket to the gateway that sends what it is told, one message a packet, and reads when it is told."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._fences = 0

    async def send(self, *messages: str | bytes) -> None:
        """Send websocket messages."""
        for message in messages:
            await self.connection.send(message)

    async def read(self, timeout: float = 10) -> str:
        """The next packet that is no ping; pings are answered."""
        async with asyncio.timeout(timeout):
            while (packet := str(await self.connection.recv())) == "2":
                await self.connection.send("3")
            return packet

    async def answers(self) -> list[str]:
        """The packets that came in answer to all that was sent."""
        self._fences += 1
        fence = 9_000_000 + self._fences
        await self.send(f'42{fence}["ping"]')
        packets = []
        while not (packet := await self.read()).startswith(f"43{fence}["):
            packets.append(packet)
        assert packets.pop().startswith('42["pong",')
        return packets

    async def join(self) -> None:
        """Connect to the one namespace there is."""
        await self.send("40")
        while (packet := await self.read()).startswith("42["):
            pass  # an event for every client, from before this one left
        assert packet.startswith('40{"sid":'), packet
        assert event_of(await self.read())[0] == "connection_established"

    async def end(self, timeout: float = 10) -> int | None:
        """Read until the connection has ended, and give its close code."""
        with suppress(ConnectionClosed):
            async with asyncio.timeout(timeout):
                while True:
                    await self.connection.recv()
        await self.connection.wait_closed()
        return self.connection.close_code


def event_of(packet: str) -> Received:
    """The event in a packet."""
    assert packet.startswith("42["), packet
    name, body = orjson.loads(packet[2:])
    return name, body


def websocket_url(url: str, sid: str | None = None) -> str:
    """Where the websocket of a session is, or of a new one."""
    return f"{url.replace('http', 'ws', 1)}/socket.io/?EIO=4&transport=websocket{f'&sid={sid}' if sid else ''}"


@asynccontextmanager
async def raw_socket(url: str, *, sid: str | None = None, joined: bool = False, **options: Any) -> AsyncGenerator[RawSocket]:
    """A websocket, of a new session where no ``sid`` is given; ``joined`` means connected as Socket.IO has it."""
    options = {"compression": None, "max_size": None, "ping_interval": None, "proxy": None, **options}
    async with connect(websocket_url(url, sid), **options) as connection:
        socket = RawSocket(connection)
        if sid is None:
            assert (await socket.read()).startswith("0{")
        if joined:
            await socket.join()
        yield socket


class RawPolling:
    """A polling session that sends what it is told and polls when it is told."""

    def __init__(self, http: httpx.AsyncClient, sid: str) -> None:
        self._http = http
        self.sid = sid

    async def get(self) -> httpx.Response:
        """One poll."""
        return await self._http.get("/socket.io/", params={"EIO": "4", "transport": "polling", "sid": self.sid})

    async def post(self, body: str | bytes, **headers: str) -> httpx.Response:
        """One request with packets."""
        parameters = {"EIO": "4", "transport": "polling", "sid": self.sid}
        return await self._http.post("/socket.io/", params=parameters, content=body, headers=headers)

    async def send(self, *packets: str) -> None:
        """Send packets in one request, which must go well."""
        answer = await self.post("\x1e".join(packets))
        assert (answer.status_code, answer.text) == (200, "ok")

    async def poll(self) -> list[str]:
        """The packets of one poll, which must go well; a ping among them is answered."""
        answer = await self.get()
        assert answer.status_code == 200, answer.text
        packets = answer.text.split("\x1e")
        if "2" in packets:
            await self.send("3")
        return [packet for packet in packets if packet != "2"]

    async def join(self) -> None:
        """Connect to the one namespace there is."""
        await self.send("40")
        packets: list[str] = []
        while len(packets) < 2:
            packets += await self.poll()
        assert packets[0].startswith('40{"sid":')
        assert event_of(packets[1])[0] == "connection_established"


@asynccontextmanager
async def raw_polling(url: str, *, joined: bool = False) -> AsyncGenerator[RawPolling]:
    """A polling session."""
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as http:
        answer = await http.get("/socket.io/", params={"EIO": "4", "transport": "polling"})
        assert answer.status_code == 200, answer.text
        polling = RawPolling(http, orjson.loads(answer.text[1:])["sid"])
        if joined:
            await polling.join()
        yield polling


TEXT, BINARY, CLOSE, PING, PONG, CONTINUATION = 0x1, 0x2, 0x8, 0x9, 0xA, 0x0


def frame(opcode: int, payload: bytes = b"", *, first_bits: int = 0x80, masked: bool = True) -> bytes:
    """A websocket frame as a client sends it, or as none should."""
    mask = 0x80 if masked else 0
    if len(payload) < 126:
        head = bytes([first_bits | opcode, mask | len(payload)])
    elif len(payload) < 65536:
        head = bytes([first_bits | opcode, mask | 126]) + len(payload).to_bytes(2)
    else:
        head = bytes([first_bits | opcode, mask | 127]) + len(payload).to_bytes(8)
    return head + (b"\0\0\0\0" if masked else b"") + payload
