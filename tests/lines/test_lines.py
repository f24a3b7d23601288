"""The laboratory itself, and two thin lines of it."""

import asyncio
import json
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.lines import table
from tests.lines.feed import Feed
from tests.lines.figures import OLDEST, figures
from tests.lines.proxy import throttled
from tests.lines.record import Key, Record, milliseconds
from tests.lines.shape import FREE, QUIET, SHAPES, Shape
from tests.project import PROJECT
from tests.tcp_server import tcp_server

_SETTLED = 3
"""Seconds after which the gateway has measured a new line."""


def price(pair: str, time: int, id: str | None = None) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(time / 1000, UTC).isoformat()
    return {**({"id": id} if id else {}), "instrument": pair, "timestamp": stamp}


def fed(*ids: str) -> Feed:
    """A feed that has published a price with each id, at the time in the id."""
    feed = Feed.__new__(Feed)
    feed.alerts = {}
    feed.prices = {Key("EUR_USD", int(id.partition("-")[0])): id for id in ids}
    return feed


def test_a_stall_holds_up_what_is_due_in_it() -> None:
    shape = Shape("", stall=5, every=20)
    assert [shape.after_stall(passed) for passed in (0, 14, 16, 19.5, 21, 36)] == [0, 14, 20, 20, 21, 40]
    assert FREE.after_stall(16) == 16
    assert [shape.held_up(0, passed) for passed in (10, 16, 20, 36, 60)] == [0, 1, 5, 6, 15]
    assert (shape.held_up(18, 30), FREE.held_up(0, 100)) == (2, 0)


def test_a_record_reads_both_forms_of_a_price_and_knows_what_came_twice() -> None:
    record = Record()
    record.opened({"recovered": None, "cursor": "900-0", "timestamp": "1970-01-01T00:00:00.9Z"})
    assert record.since == "900-0"
    record.take("price_update", price("EUR_USD", 1000, "1000-0"), at=1.5)
    record.take("price_update", ["EUR_USD", "1.1", "1.2", 2000, 36, 0], at=2.25)
    record.take("price_update", ["EUR_USD", "1.1", "1.2", 2000], id="2036-0", at=2.25)
    record.take("heartbeat", {"cursor": "2500-0"}, id="2500-0")
    assert [(key.time, arrived) for key, arrived in record.arrivals] == [(1000, 1.5), (2000, 2.25), (2000, 2.25)]
    assert (record.repeats, record.since, record.began) == (1, "2500-0", 900)


def test_what_a_client_was_told_it_has_missed_is_not_missing() -> None:
    feed = fed("1000-0", "2000-0", "3000-0", "4000-0", "5000-0")
    record = Record(began=0)
    record.opened({"recovered": None, "cursor": "0-0"})
    record.take("price_update", price("EUR_USD", 1000, "1000-0"), at=1.5)
    found = figures(FREE, 0, "sse", record, feed)
    assert found.untold == 4
    record.cut("reset")
    record.opened({"recovered": False, "cursor": "2500-0"})
    record.take("conflated", {"count": 1})
    record.take("price_update", price("EUR_USD", 4000, "4000-0"), at=7)
    record.take("price_update", price("EUR_USD", 5000, "5000-0"), at=15)  # the newest of its pair, whatever its age
    record.take("price_update", price("EUR_USD", 1000), at=1.5)
    found = figures(FREE, 0, "sse", record, feed)
    assert (found.untold, found.oldest, found.faults) == (0, 3.0, ["cut off 1 × (reset)", "a price was 3.0 s old"])


def test_a_vanished_client_is_judged_by_the_time_until_its_place_is_free() -> None:
    assert figures(QUIET, 0, "sse", Record(), fed(), 44).faults == []
    assert figures(QUIET, 0, "sse", Record(), fed(), 46).faults == ["its place was free after 46 s"]
    assert figures(QUIET, 0, "sse", Record(), fed()).faults == ["its place was never free"]


def test_the_tables_stand_between_their_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(table.PAGE.read_text())
    monkeypatch.setattr(table, "PAGE", page)
    table.write("first")
    table.write("second")
    before, _, rest = page.read_text().partition(table.BEGIN)
    assert rest.partition(table.END)[0] == "\n\nsecond\n\n"
    assert before.startswith("# Reliability")


async def test_a_throttling_proxy_leaves_what_it_cannot_carry_with_the_sender() -> None:
    sent = received = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        assert await reader.readexactly(5) == b"begin"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.transport.set_write_buffer_limits(high=0)
        while True:
            writer.write(bytes(500))
            await writer.drain()
            sent += 500

    async with tcp_server(flood) as port, throttled(Shape("", rate=20_000), port) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"begin")
        clock = asyncio.get_running_loop().time
        began = clock()
        while received < 20_000:
            received += len(await reader.read(4096))
        took = clock() - began
        assert took > 0.9
        assert sent - received < 40_000
        proxy.vanish()
        writer.write(b"in vain")
        nothing = asyncio.create_task(reader.read(4096))
        await asyncio.wait([nothing], timeout=0.2)
        assert not nothing.done()
        writer.close()


@pytest.mark.timeout(240)
async def test_a_thin_line_gets_new_prices_and_every_alert_and_is_told_of_the_rest(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    options = ["--lines", "8,free", "--transports", "websocket,sse", "--seconds", "5", "--pause", "3", "--no-starved", "--json"]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.lines", *options, result, cwd=PROJECT)
    assert await process.wait() == 0
    outcome = json.loads(result.read_text())
    cells = outcome["cells"]
    assert [(cell["line"], cell["transport"]) for cell in cells] == [
        (SHAPES[key].name, transport) for key in ("8", "free") for transport in ("websocket", "sse")
    ]
    assert all(cell["received"] for cell in cells)
    for cell in cells:
        assert (cell["cuts"], cell["alerts_lost"], cell["repeats"], cell["untold"]) == ({}, 0, 0, 0), cell
    thin, free = cells[:2], cells[2:]
    late = max(outcome["lag"], *(cell["oldest"] for cell in free))  # for want of a processor
    for cell in thin:
        assert cell["conflated"], cell
        assert max(cell["oldest_by_second"][_SETTLED:]) < 2 * OLDEST + late, (cell, late)


def test_times_are_compared_in_milliseconds() -> None:
    assert milliseconds(datetime(1970, 1, 1, 0, 0, 1, 999_999, UTC)) == 1999
