"""A stand-in for Kraken: its WebSocket API, version 2, and its REST endpoint of bars, on one port, with every fault on demand."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from itertools import count
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.tcp_server import all_accepted

LISTED = (
    "EUR/USD", "GBP/USD", "AUD/USD", "USD/JPY", "USD/CAD", "USD/CHF", "EUR/GBP", "EUR/JPY", "EUR/CHF", "EUR/CAD", "EUR/AUD",
    "AUD/JPY", "BTC/USD", "ETH/EUR", "USDT/USD", "MATIC/GBP",
)  # fmt: skip

NOON = 1_764_000_000 // 3600 * 3600
"""A full hour, in seconds."""

_REST_NAMES = {"EURUSD": "ZEURZUSD", "GBPUSD": "ZGBPZUSD", "USDJPY": "ZUSDZJPY", "USDCAD": "ZUSDZCAD"}
_MOST_BARS = 720
_STAMP = "2026-01-30T12:00:{:09.6f}Z"


class KrakenStub:
    """The server. What tests turn is public; what clients asked for is in ``subscriptions`` and ``bar_requests``."""

    def __init__(self) -> None:
        self.listed = dict.fromkeys(LISTED, "online")
        self.system = "online"
        self.refused: dict[str, str] = {}
        self.last: dict[str, tuple[str, str, str | None]] = {}
        self.heartbeat = 0.05
        self.stalled = False
        self.lists = True
        self.list_error = ""
        self.subscriptions: list[Mapping[str, object]] = []
        self.opened = 0
        self.bars: list[list[object]] = []
        self.bar_requests: list[Mapping[str, str]] = []
        self.bar_failures: list[tuple[int, str]] = []
        self._port = 0
        self._server: Server | None = None
        self._subscribed: dict[ServerConnection, set[str]] = {}
        self._numbers = count()

    @property
    def url(self) -> str:
        """Where WebSocket connections are taken."""
        return f"ws://127.0.0.1:{self._port}/v2"

    @property
    def rest_url(self) -> str:
        """The host of the REST API."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._subscribed)

    def is_subscribed(self, *symbols: str) -> bool:
        """True where some connection has subscribed to all these tickers."""
        return any(subscribed >= set(symbols) for subscribed in self._subscribed.values())

    async def come_up(self) -> None:
        """Listen, on the same port as before."""
        self._server = await serve(self._serve, "127.0.0.1", self._port, process_request=self._answer, close_timeout=0.5)
        self._port = next(iter(self._server.sockets)).getsockname()[1]

    async def go_down(self) -> None:
        """Listen no more, and cut every connection."""
        assert self._server is not None
        self._server.server.close()
        await all_accepted()
        self._server.close(close_connections=False)
        self.drop()
        await self._server.wait_closed()

    def drop(self) -> None:
        """Cut every connection, without a word."""
        for connection in list(self._subscribed):
            connection.transport.abort()

    async def quote(self, symbol: str, bid: str, ask: str, time: str | None = "") -> str | None:
        """A new best bid and ask, as the numbers are written, sent to all who subscribed; the time that it was given.

        The time is one microsecond after that of the call before where it is not said, and left out where it is None.
        """
        stamp = _STAMP.format(next(self._numbers) / 1_000_000) if time == "" else time
        self.last[symbol] = bid, ask, stamp
        for connection, symbols in list(self._subscribed.items()):
            if symbol in symbols:
                await self._send(connection, self._ticker(symbol, "update"))
        return stamp

    async def say(self, text: str | bytes) -> None:
        """Send this to everyone."""
        for connection in list(self._subscribed):
            await self._send(connection, text)

    async def set_system(self, system: str) -> None:
        """A state of the whole exchange."""
        self.system = system
        await self.say(self._status())

    async def set_state(self, symbol: str, state: str) -> None:
        """Send the state of one pair to all connections."""
        self.listed[symbol] = state
        await self.say(
            json.dumps({"channel": "instrument", "type": "update", "data": {"assets": [], "pairs": [self._listing(symbol)]}})
        )

    # ---------------------------------------------------------------- WebSocket

    async def _serve(self, connection: ServerConnection) -> None:
        self.opened += 1
        self._subscribed[connection] = set()
        beating = asyncio.create_task(self._beat(connection))
        try:
            await self._send(connection, self._status())
            async for text in connection:
                await self._take(connection, json.loads(text))
        except ConnectionClosed:
            pass
        finally:
            del self._subscribed[connection]
            beating.cancel()
            with suppress(asyncio.CancelledError):
                await beating

    async def _beat(self, connection: ServerConnection) -> None:
        while True:
            await asyncio.sleep(self.heartbeat)
            await self._send(connection, '{"channel":"heartbeat"}')

    async def _take(self, connection: ServerConnection, request: Mapping[str, object]) -> None:
        assert request["method"] == "subscribe", request
        parameters = request["params"]
        assert isinstance(parameters, dict)
        self.subscriptions.append(parameters)
        if parameters["channel"] == "instrument":
            if self.list_error:
                await self._send(connection, json.dumps({"method": "subscribe", "success": False, "error": self.list_error}))
                return
            await self._acknowledge(connection, {"channel": "instrument", "snapshot": True})
            if self.lists:
                pairs = [self._listing(symbol) for symbol in self.listed]
                assets = [{"id": "EUR", "status": "enabled", "precision": 4}]
                data = {"assets": assets, "pairs": pairs}
                await self._send(connection, json.dumps({"channel": "instrument", "type": "snapshot", "data": data}))
            return
        for symbol in parameters["symbol"]:
            error = self.refused.get(symbol) or ("" if symbol in self.listed else f"Currency pair not supported {symbol}")
            if error:
                refusal = {
                    "error": error,
                    "method": "subscribe",
                    "success": False,
                    "symbol": symbol,
                    "time_in": "",
                    "time_out": "",
                }
                await self._send(connection, json.dumps(refusal))
                continue
            self._subscribed[connection].add(symbol)
            trigger = parameters.get("event_trigger", "trades")
            await self._acknowledge(
                connection, {"channel": "ticker", "event_trigger": trigger, "snapshot": True, "symbol": symbol}
            )
            if symbol in self.last and parameters.get("snapshot", True):
                await self._send(connection, self._ticker(symbol, "snapshot"))

    async def _acknowledge(self, connection: ServerConnection, result: Mapping[str, object]) -> None:
        await self._send(connection, json.dumps({"method": "subscribe", "result": result, "success": True}))

    async def _send(self, connection: ServerConnection, text: str | bytes) -> None:
        if not self.stalled:
            with suppress(ConnectionClosed):
                await connection.send(text)

    def _status(self) -> str:
        data = {"version": "2.0.10", "system": self.system, "api_version": "v2", "connection_id": 15483510049470446170}
        return json.dumps({"channel": "status", "type": "update", "data": [data]})

    def _listing(self, symbol: str) -> Mapping[str, object]:
        base, _, quote = symbol.partition("/")
        precision = {
            "qty_precision": 8,
            "qty_increment": 1e-8,
            "price_precision": 5,
            "cost_precision": 5,
            "price_increment": 1e-5,
        }
        return {"symbol": symbol, "base": base, "quote": quote, "status": self.listed[symbol], **precision}

    def _ticker(self, symbol: str, kind: str) -> str:
        # Put together as text, so that the numbers are those that the test wrote.
        bid, ask, stamp = self.last[symbol]
        timestamp = "" if stamp is None else f',"timestamp":"{stamp}"'
        return (
            f'{{"channel":"ticker","type":"{kind}","data":[{{"symbol":"{symbol}","bid":{bid},"bid_qty":740.00000000,"ask":{ask},'
            f'"ask_qty":1361.44813783,"last":{bid},"volume":997038.98383185,"vwap":{bid},"low":{bid},"high":{ask},'
            f'"change":-0.00020,"change_pct":-0.02{timestamp}}}]}}'
        )

    # ---------------------------------------------------------------- REST

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        url = urlsplit(request.path)
        if url.path == "/v2":
            return None
        query = dict(parse_qsl(url.query))
        self.bar_requests.append(query)
        if self.bar_failures:
            return _response(*self.bar_failures.pop(0))
        if url.path != "/0/public/OHLC":
            return _response(404, "not here")
        if f"{query['pair'][:3]}/{query['pair'][3:]}" not in self.listed:
            return _response(200, '{"error":["EQuery:Unknown asset pair"]}')
        rows = [row for row in self.bars if int(str(row[0])) > int(query.get("since", "0"))][-_MOST_BARS:]
        last = rows[-2][0] if len(rows) > 1 else 0
        name = _REST_NAMES.get(query["pair"], query["pair"])
        return _response(200, json.dumps({"error": [], "result": {name: rows, "last": last}}))


def bar(start: int, close: str = "1.08420", trades: int = 7) -> list[object]:
    """A bar as Kraken writes it."""
    return [start, "1.08400", "1.08450", "1.08390", close, "1.08411" if trades else "0.0", "1312.80000000", trades]


def _response(status: int, body: str) -> Response:
    encoded = body.encode()
    headers = Headers({"Content-Type": "application/json", "Content-Length": str(len(encoded)), "Connection": "close"})
    return Response(status, HTTPStatus(status).phrase, headers, encoded)


@asynccontextmanager
async def kraken_stub() -> AsyncGenerator[KrakenStub]:
    """A running stand-in."""
    stub = KrakenStub()
    await stub.come_up()
    try:
        yield stub
    finally:
        await stub.go_down()
