"""Live prices of a gateway in a terminal."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.errors import InvalidPair, SourceError
from app.market.clock import parse_time, utc_now
from app.market.pair import CurrencyPair
from app.realtime.contract.catalogue import EVENTS, EventType
from fx_gateway.event_socket import EventSocket
from fx_gateway.event_stream import Connect, Connected, EventStream, Lost, StreamEvent, stream_events

_PAINT_EVERY = 0.25
_STALE_AFTER = timedelta(seconds=60)
_SIMULATED = "simulated"

_SEVERITY_STYLES = {"info": "cyan", "warning": "yellow", "critical": "bold red"}
_STYLES = {EventType.GAP: "bold red", EventType.SOURCE_CHANGED: "bold yellow"}
_STATUS_STYLES = {"silent": "bold yellow"}

_HEADLINES = {type.value: kind.headline for type, kind in EVENTS.items() if kind.headline is not None}
"""The events that are shown as news, and the line for each."""


@dataclass(frozen=True, slots=True)
class Row:
    """The newest price of a pair, and the first mid seen."""

    pair: CurrencyPair
    bid: Decimal
    ask: Decimal
    mid: Decimal
    first_mid: Decimal
    time: datetime
    source: str

    @property
    def spread(self) -> Decimal:
        """Ask less bid, in pips."""
        return (self.ask - self.bid) / self.pair.pip

    @property
    def change(self) -> Decimal:
        """The change of the mid since the first price, in pips."""
        return (self.mid - self.first_mid) / self.pair.pip


@dataclass(frozen=True, slots=True)
class News:
    """The headline of an event: an alert, a change of source, a gap …"""

    text: str
    style: str
    time: datetime


class Board:
    """The state of a gateway's prices, kept current by its stream."""

    def __init__(self, url: str) -> None:
        self.url = _printable(url)
        self.rows: dict[str, Row | None] = {}
        self.news: News | None = None
        self.lost: str | None = "connecting"
        self.retry_at: datetime | None = None
        self._ahead = timedelta()

    @property
    def simulated(self) -> bool:
        """True if any price is simulated."""
        return any(row is not None and row.source == _SIMULATED for row in self.rows.values())

    def age(self, time: datetime, now: datetime) -> timedelta:
        """Return the age of a time by the gateway's clock, which may differ from ours."""
        return max(now + self._ahead - time, timedelta())

    def apply(self, state: StreamEvent | Connected | Lost, now: datetime) -> None:
        """Update the board. Raises SourceError for an event that cannot be read."""
        match state:
            case Connected():
                self.lost, self.retry_at = None, None
            case Lost():
                self.lost, self.retry_at = _printable(state.reason), now + timedelta(seconds=state.retry_in)
            case StreamEvent():
                try:
                    self._apply_event(state.type, json.loads(state.data), now)
                except (InvalidPair, ValueError, ArithmeticError, LookupError, TypeError, AttributeError) as error:
                    raise SourceError(f"{self.url} sent a {_printable(state.type)} that cannot be read") from error

    def _apply_event(self, type: str, body: dict[str, Any], now: datetime) -> None:
        match type:
            case "stream_opened":
                self.rows = {pair: self.rows.get(pair) for pair in map(_printable, body["pairs"])}
                self._ahead = parse_time(body["timestamp"]) - now
            case "heartbeat":
                self._ahead = parse_time(body["timestamp"]) - now
            case "price_update":
                self._apply_price(body)
            case _ if type in _HEADLINES:
                text = _HEADLINES[type].format_map(body)
                self.news = News(_printable(text), _style(type, body), parse_time(body["timestamp"]))

    def _apply_price(self, body: dict[str, Any]) -> None:
        pair, price = CurrencyPair.parse(body["instrument"]), body["price"]
        before, mid = self.rows.get(pair.name), _decimal(price["mid"])
        self.rows[pair.name] = Row(
            pair=pair,
            bid=_decimal(price["bid"]),
            ask=_decimal(price["ask"]),
            mid=mid,
            first_mid=mid if before is None else before.first_mid,
            time=parse_time(price["time"]),
            source=_printable(body["source"]),
        )


def _style(type: str, body: dict[str, Any]) -> str:
    """The style of an event's headline: by its severity or status where it has one, else by its type."""
    if "severity" in body:
        return _SEVERITY_STYLES.get(body["severity"], "")
    if "status" in body:
        return _STATUS_STYLES.get(body["status"], "")
    return _STYLES.get(EventType(type), "")


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(f"no price: {text}")
    return number


def _printable(text: str) -> str:
    """Replace control characters, which a terminal would obey, with spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


# ---------------------------------------------------------------- the view


def render(board: Board, now: datetime) -> RenderableType:
    """Return the board as it is shown: title, connection and news on a line each, then a line for each pair.

    With the headings and the twenty default pairs it fits a terminal of 24 lines.
    """
    return Group(_title(board), _connection(board, now), _news(board, now), _prices(board, now))


def _title(board: Board) -> Text:
    return _line(
        ("FX Gateway", "bold"),
        f"  {board.url}  ",
        (" SIMULATED, not a market ", "bold black on yellow") if board.simulated else "",
    )


def _connection(board: Board, now: datetime) -> Text:
    if board.lost is None:
        return _line(("● live", "green"))
    again = "" if board.retry_at is None else f", retrying in {max(0, round((board.retry_at - now).total_seconds()))} s"
    return _line((f"○ {board.lost}", "bold red"), (again, "red"))


def _news(board: Board, now: datetime) -> Text:
    if board.news is None:
        return _line(("no news so far", "dim"))
    ago = f"{_duration(board.age(board.news.time, now))} ago  "
    return _line((ago, "dim"), (board.news.text, board.news.style))


def _line(*parts: str | tuple[str, str]) -> Text:
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _prices(board: Board, now: datetime) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("pair", no_wrap=True)
    for name in ("bid", "ask", "spread, pips", "change, pips", "age"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("source", no_wrap=True)
    for name, row in board.rows.items():
        if row is None:
            table.add_row(name, "no price yet", style="dim")
            continue
        age = board.age(row.time, now)
        old = board.lost is not None or age > _STALE_AFTER
        table.add_row(
            row.pair.name,
            str(row.bid),
            str(row.ask),
            f"{row.spread:.1f}",
            _change(row, old),
            _duration(age),
            row.source,
            style="dim" if old else "",
        )
    return table


def _change(row: Row, old: bool) -> Text:
    if row.change > 0:
        return Text(f"▲ {row.change:.1f}", "" if old else "green")
    if row.change < 0:
        return Text(f"▼ {-row.change:.1f}", "" if old else "red")
    return Text("0.0")


def _duration(duration: timedelta) -> str:
    """Format a duration in whole numbers of the largest unit that fits."""
    seconds = int(duration.total_seconds())
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


# ---------------------------------------------------------------- watching


class Transport(StrEnum):
    """How the prices come."""

    STREAM = "stream"
    WEBSOCKET = "websocket"


_CONNECTIONS: Mapping[Transport, Connect] = MappingProxyType({Transport.STREAM: EventStream, Transport.WEBSOCKET: EventSocket})


async def watch(url: str, pairs: Iterable[str], console: Console | None = None, transport: Transport = Transport.STREAM) -> None:
    """Show the prices of these pairs, by default of all, on standard output until cancelled.

    Raises SourceError if there is no gateway at the first attempt, or if it refuses permanently.
    """
    board = Board(url)
    async with aclosing(stream_events(url, list(pairs), connect=_CONNECTIONS[transport])) as states:
        # An error at the start is reported before the terminal is taken over.
        board.apply(await anext(states), utc_now())
        reading = asyncio.create_task(_follow(board, states))
        try:
            with Live(console=console or Console(), screen=True, auto_refresh=False) as live:
                while not reading.done():
                    live.update(render(board, utc_now()), refresh=True)
                    await asyncio.wait({reading}, timeout=_PAINT_EVERY)
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


async def _follow(board: Board, states: AsyncGenerator[StreamEvent | Connected | Lost]) -> None:
    async for state in states:
        board.apply(state, utc_now())
