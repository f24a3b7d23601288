import asyncio
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from app.errors import SourceError
from app.market.clock import rfc3339
from app.market.pair import DEFAULT_PAIRS, TrackedPairs
from app.realtime.contract.publication import publication
from app.realtime.log.log import EventLog, open_redis
from fx_gateway.event_stream import Connected, Lost, StreamEvent
from fx_gateway.watch import Board, Transport, render, watch
from tests.gateways import gateway
from tests.tcp_server import tcp_server
from tests.waiting import wait_until

_NOW = datetime(2026, 1, 30, 9, 30, tzinfo=UTC)
_URL = "http://localhost:5001"

_BOLD_BLACK_ON_YELLOW = "\x1b[1;30;43m"
_GREEN, _RED, _DIM = "\x1b[32m", "\x1b[31m", "\x1b[2m"


def _board(*pairs: str, gateway_time: datetime = _NOW) -> Board:
    """A board of a stream that has just opened."""
    board = Board(_URL)
    board.apply(Connected(), _NOW)
    _say(board, "stream_opened", pairs=pairs, timestamp=rfc3339(gateway_time))
    return board


def _say(board: Board, type: str, **body: object) -> None:
    board.apply(StreamEvent(type, json.dumps(body), ""), _NOW)


def _quote(board: Board, pair: str, bid: str, ask: str, mid: str, source: str = "replay", time: datetime = _NOW) -> None:
    price = {"bid": bid, "ask": ask, "mid": mid, "time": rfc3339(time)}
    _say(board, "price_update", instrument=pair, price=price, source=source, timestamp=rfc3339(time))


def _lines(board: Board, now: datetime = _NOW, *, styles: bool = False, width: int = 80) -> list[str]:
    """The board as a terminal shows it."""
    console = Console(file=io.StringIO(), record=True, width=width, height=24, force_terminal=True, color_system="standard")
    console.print(render(board, now))
    return console.export_text(styles=styles).splitlines()


def _row(board: Board, pair: str, now: datetime = _NOW, *, styles: bool = False) -> str:
    [line] = [line for line in _lines(board, now, styles=styles) if pair in line]
    return line


# ---------------------------------------------------------------- prices


def test_a_row_tells_everything_of_a_pair() -> None:
    board = _board("EUR_USD", "USD_JPY")
    _quote(board, "EUR_USD", "1.09450", "1.09462", "1.09456")
    _quote(board, "USD_JPY", "157.200", "157.212", "157.206")
    _quote(board, "USD_JPY", "157.230", "157.245", "157.238", time=_NOW - timedelta(seconds=7))
    heading, *rows = _lines(board)[3:]
    assert heading.split() == ["pair", "bid", "ask", "spread,", "pips", "change,", "pips", "age", "source"]
    assert [row.split() for row in rows] == [
        ["EUR_USD", "1.09450", "1.09462", "1.2", "0.0", "0", "s", "replay"],
        ["USD_JPY", "157.230", "157.245", "1.5", "▲", "3.2", "7", "s", "replay"],
    ]


def test_the_direction_has_a_colour() -> None:
    board = _board("EUR_USD", "GBP_USD", "AUD_USD")
    for pair, after in (("EUR_USD", "1.09461"), ("GBP_USD", "1.09441"), ("AUD_USD", "1.09451")):
        _quote(board, pair, "1.09450", "1.09452", "1.09451")
        _quote(board, pair, "1.09440", "1.09470", after)
    assert re.search(re.escape(_GREEN) + " +▲ 1.0", _row(board, "EUR_USD", styles=True))
    assert re.search(re.escape(_RED) + " +▼ 1.0", _row(board, "GBP_USD", styles=True))
    assert _row(board, "AUD_USD", styles=True) == _row(board, "AUD_USD")


def test_a_pair_without_a_price_is_listed() -> None:
    board = _board("EUR_USD", "GBP_USD")
    _quote(board, "GBP_USD", "1.27120", "1.27141", "1.27130")
    assert _row(board, "EUR_USD").split() == ["EUR_USD", "no", "price", "yet"]
    assert [line.split()[0] for line in _lines(board)[4:]] == ["EUR_USD", "GBP_USD"]


def test_simulated_prices_are_called_so() -> None:
    board = _board("EUR_USD", "GBP_USD")
    _quote(board, "GBP_USD", "1.27120", "1.27141", "1.27130")
    assert "SIMULATED" not in "\n".join(_lines(board))
    _quote(board, "EUR_USD", "1.09450", "1.09462", "1.09456", source="simulated")
    title = _lines(board, styles=True)[0]
    assert f"{_BOLD_BLACK_ON_YELLOW} SIMULATED, not a market " in title
    assert _URL in title


@pytest.mark.parametrize(("age", "dim"), [(0, False), (60, False), (61, True), (3600, True)])
def test_a_stale_price_is_dim(age: int, dim: bool) -> None:
    board = _board("EUR_USD", "GBP_USD")
    _quote(board, "EUR_USD", "1.09440", "1.09452", "1.09446")
    _quote(board, "EUR_USD", "1.09450", "1.09462", "1.09456", time=_NOW - timedelta(seconds=age))
    _quote(board, "GBP_USD", "1.27120", "1.27141", "1.27130")
    assert _row(board, "EUR_USD", styles=True).startswith(_DIM) == dim
    assert (_GREEN in _row(board, "EUR_USD", styles=True)) != dim
    assert _DIM not in _row(board, "GBP_USD", styles=True)


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(hours=-2)])
def test_the_clock_of_the_gateway_counts(ahead: timedelta) -> None:
    board = _board("EUR_USD", gateway_time=_NOW + ahead)
    _quote(board, "EUR_USD", "1.09450", "1.09462", "1.09456", time=_NOW + ahead - timedelta(seconds=3))
    assert _row(board, "EUR_USD").split()[-3:-1] == ["3", "s"]
    _say(board, "heartbeat", cursor="1-0", timestamp=rfc3339(_NOW + ahead + timedelta(seconds=2)))
    assert _row(board, "EUR_USD").split()[-3:-1] == ["5", "s"]


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=59.9), "59 s"),
        (timedelta(seconds=60), "1 min"),
        (timedelta(minutes=59, seconds=59), "59 min"),
        (timedelta(hours=23), "23 h"),
        (timedelta(days=400), "400 d"),
    ],
)
def test_an_age_is_told_in_one_unit(age: timedelta, text: str) -> None:
    board = _board("EUR_USD")
    _quote(board, "EUR_USD", "1.09450", "1.09462", "1.09456", time=_NOW - age)
    assert f"  {text}  replay" in _row(board, "EUR_USD")


def test_the_default_pairs_fit_a_terminal() -> None:
    board = _board(*DEFAULT_PAIRS)
    for pair in DEFAULT_PAIRS:
        _quote(board, pair, "99.09450", "99.09470", "99.09456", source="simulated", time=_NOW - timedelta(minutes=59))
        _quote(board, pair, "88.09450", "88.09570", "88.09456", source="simulated", time=_NOW - timedelta(minutes=59))
    lines = _lines(board)
    assert len(lines) == 24
    assert not any("…" in line for line in lines)


# ---------------------------------------------------------------- the connection


def test_a_live_stream_is_called_so() -> None:
    assert _lines(_board("EUR_USD"))[1].strip() == "● live"
    assert _lines(Board(_URL))[1].strip() == "○ connecting"


def test_while_the_stream_is_down_every_price_is_old() -> None:
    board = _board("EUR_USD")
    _quote(board, "EUR_USD", "1.09450", "1.09462", "1.09456")
    board.apply(Lost("nothing received for 45 s", 2.6), _NOW)
    assert _lines(board)[1].strip() == "○ nothing received for 45 s, retrying in 3 s"
    assert _lines(board, _NOW + timedelta(seconds=9))[1].strip() == "○ nothing received for 45 s, retrying in 0 s"
    assert _row(board, "EUR_USD", styles=True).startswith(_DIM)


def test_a_stream_that_comes_back_goes_on_from_the_first_price() -> None:
    board = _board("EUR_USD", "GBP_USD")
    _quote(board, "EUR_USD", "1.09450", "1.09462", "1.09456")
    board.apply(Lost("the gateway closed the stream", 1), _NOW)
    board.apply(Connected(), _NOW)
    _say(board, "stream_opened", pairs=["EUR_USD"], timestamp=rfc3339(_NOW))
    _quote(board, "EUR_USD", "1.09440", "1.09450", "1.09446")
    assert "▼ 1.0" in _row(board, "EUR_USD")
    assert len(_lines(board)) == 5


# ---------------------------------------------------------------- alerts and gaps


def test_the_last_alert_is_shown() -> None:
    board = _board("EUR_USD", "USD_JPY")
    assert _lines(board)[2].strip() == "no news so far"
    alert = {"severity": "critical", "timestamp": rfc3339(_NOW - timedelta(minutes=3))}
    _say(board, "volatility_alert", instrument="EUR_USD", message="Volatility (0.03) exceeded", **alert)
    assert _lines(board)[2].strip() == "3 min ago  EUR_USD: Volatility (0.03) exceeded"
    assert "\x1b[1;31mEUR_USD: " in _lines(board, styles=True)[2]
    alert["severity"] = "unheard of"
    _say(board, "correlation_alert", pair1="EUR_USD", pair2="USD_JPY", message="Correlation changed", **alert)
    assert _lines(board)[2].strip() == "3 min ago  EUR_USD and USD_JPY: Correlation changed"
    _say(board, "price_alert", instrument="GBP_USD", message="GBP_USD rose above 1.30000: 1.30002", **alert)
    assert _lines(board)[2].strip() == "3 min ago  GBP_USD: GBP_USD rose above 1.30000: 1.30002"
    _say(board, "source_changed", source="kraken", reason="oanda is silent", timestamp=rfc3339(_NOW))
    assert _lines(board)[2].strip() == "0 s ago  prices now come from kraken: oanda is silent"
    _say(board, "feed_status", source="oanda", status="silent", message="oanda is silent", timestamp=rfc3339(_NOW))
    assert _lines(board)[2].strip() == "0 s ago  oanda is silent"
    _say(board, "gap", after="1-0", before="5-0", missed=3, message="3 events were lost", timestamp=rfc3339(_NOW))
    assert _lines(board)[2].strip() == "0 s ago  gap: 3 events were lost"


def test_other_events_change_nothing() -> None:
    board = _board("EUR_USD")
    before = _lines(board)
    _say(board, "data_ready", data_type="prices")
    _say(board, "unheard_of")
    assert _lines(board) == before


def test_nothing_that_is_said_reaches_the_terminal_as_a_command() -> None:
    board = _board("EUR_USD\x1b[2J", "GBP_USD")
    timestamp = rfc3339(_NOW)
    _say(board, "volatility_alert", instrument="EUR_USD", message="\x1b[2J[red]\x9b", severity="info", timestamp=timestamp)
    _quote(board, "GBP_USD", "1.27120", "1.27141", "1.27130", source="\x1b]0;\x07")
    board.apply(Lost("a\x1bb", 1), _NOW)
    text = "\n".join(_lines(board))
    assert not {"\x1b", "\x9b", "\x07"} & set(text)
    assert "[2J[red]" in text


@pytest.mark.parametrize(
    ("type", "body"),
    [
        ("stream_opened", "{}"),
        ("stream_opened", "{"),
        ("heartbeat", '{"timestamp":"now"}'),
        ("heartbeat", "[]"),
        ("price_update", '{"instrument":7,"price":{}}'),
        ("volatility_alert", '{"severity":"info","instrument":"EUR_USD","message":"x","timestamp":7}'),
        ("price_update", '{"instrument":"EUR","price":{}}'),
        ("price_update", '{"instrument":"EUR_USD","price":{"bid":"a","ask":"b","mid":"c"},"source":"x"}'),
        ("price_update", '{"instrument":"EUR_USD","price":{"bid":"1","ask":"NaN","mid":"1"},"source":"x"}'),
        ("stream_opened", '{"pairs":[7]}'),
        ("volatility_alert", '{"severity":"info"}'),
    ],
)
def test_an_event_that_cannot_be_read_is_told(type: str, body: str) -> None:
    with pytest.raises(SourceError, match=f"{_URL} sent a {type} that cannot be read"):
        _board("EUR_USD").apply(StreamEvent(type, body, ""), _NOW)


# ---------------------------------------------------------------- watching


@pytest.mark.parametrize("transport", Transport)
async def test_watching_a_gateway(transport: Transport, valkey_url: str, tmp_path: Path) -> None:
    screen = io.StringIO()
    console = Console(file=screen, width=80, height=24, force_terminal=True, color_system=None)
    price = {"instrument": "EUR_USD", "price": {"bid": "1.0945", "ask": "1.0947"}, "source": "simulated"}
    async with gateway(valkey_url, tmp_path) as running, open_redis(valkey_url) as redis:
        watching = asyncio.create_task(watch(running.url, ["eurusd", "GBP/USD"], console, transport))
        await wait_until(lambda: "● live" in screen.getvalue(), "the stream is open")
        assert "SIMULATED" not in screen.getvalue()
        await EventLog(redis, 10_000).publisher().publish([publication("price_update", price, TrackedPairs(DEFAULT_PAIRS))])
        await wait_until(lambda: "1.09450" in screen.getvalue(), "the price is shown")
        assert "SIMULATED" in screen.getvalue()
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching
        assert screen.getvalue().endswith("\x1b[?25h\x1b[?1049l")
        await wait_until(lambda: len(running.hub.clients) == 0, "the gateway has seen the reader leave")


@pytest.mark.parametrize("transport", Transport)
async def test_what_is_wrong_from_the_start_leaves_the_terminal_alone(
    transport: Transport, valkey_url: str, tmp_path: Path
) -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True)
    async with gateway(valkey_url, tmp_path) as running:
        with pytest.raises(SourceError, match="Invalid instrument: XXX_YYY"):
            await watch(running.url, ["XXX_YYY"], console, transport)
    with pytest.raises(SourceError, match="no gateway at"):
        await watch(running.url, [], console, transport)
    assert screen.getvalue() == ""


async def test_what_goes_wrong_later_gives_the_terminal_back() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nevent: price_update\ndata: {}\n\n")

    screen = io.StringIO()
    async with tcp_server(serve) as port:
        with pytest.raises(SourceError, match="sent a price_update that cannot be read"):
            await watch(f"http://127.0.0.1:{port}", [], Console(file=screen, force_terminal=True))
    assert screen.getvalue().endswith("\x1b[?25h\x1b[?1049l")
