"""OANDA's source against its stand-in for a while, every fault in turn: ``python -m tests.providers.oanda.soak --minutes 10``.

What must hold throughout: the source goes on without a restart, no quote comes twice or out of order, silence is noticed
in time, and prices are back once a fault is over.
"""

import argparse
import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import cycle

from rich.console import Console
from rich.table import Table

from tests.providers.oanda.stub import OandaStub
from tests.providers.oanda.stub_running import PROXY_VARIABLES, Reading, reading, source_at
from tests.providers.oanda.stub_stream import Ending, Failure
from tests.waiting import wait_until


@dataclass
class Result:
    """How a fault went: seconds until the stream was left where it was, and from its end to the next quote."""

    fault: str
    times: int = 0
    left_after: list[float] = field(default_factory=list)
    back_after: list[float] = field(default_factory=list)
    reconnects: int = 0
    quotes: int = 0


Switch = Callable[[OandaStub], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, how it begins and how it ends. ``leaves`` where the stream must not be kept meanwhile."""

    name: str
    begin: Switch
    end: Switch
    leaves: bool = True


async def _nothing(_: OandaStub) -> None:
    pass


async def _break_off(ending: Ending, stub: OandaStub) -> None:
    stub.break_off(ending)


async def _set(knob: str, value: object, stub: OandaStub) -> None:
    setattr(stub.knobs, knob, value)


async def _fail(failure: Failure, stub: OandaStub) -> None:
    stub.knobs.stream_failures.extend([failure] * 1000)
    stub.break_off("end")


async def _recover(stub: OandaStub) -> None:
    stub.knobs.stream_failures.clear()


async def _reset_all(stub: OandaStub) -> None:
    stub.knobs.reset_connections = True
    stub.break_off("reset")


async def _leave_no_place(stub: OandaStub) -> None:
    stub.knobs.most_streams = 0
    stub.break_off("end")


async def _send_a_giant(stub: OandaStub) -> None:
    for _ in range(3):
        stub.inject(b"x" * 500_000)
    stub.inject(b"\n")


def _knob(name: str, knob: str, on: object, off: object, leaves: bool = False) -> Fault:
    return Fault(name, partial(_set, knob, on), partial(_set, knob, off), leaves)


def _answer(name: str, failure: Failure) -> Fault:
    return Fault(name, partial(_fail, failure), _recover)


FAULTS = (
    _knob("no byte comes", "stalled", True, False, leaves=True),
    Fault("stream ends", partial(_break_off, "end"), _nothing),
    Fault("stream breaks off within a line", partial(_break_off, "mid-line"), _nothing),
    Fault("stream is reset", partial(_break_off, "reset"), _nothing),
    Fault("every connection is reset", _reset_all, partial(_set, "reset_connections", False)),
    Fault("connections are refused", OandaStub.go_down, OandaStub.come_up),
    _answer("502 with a page", Failure(502)),
    _answer("504 in JSON", Failure(504, b'{"errorMessage":"Timeout waiting for response."}', "application/json")),
    _answer("429", Failure(429, b"")),
    _answer("200 with a page", Failure(200)),
    Fault("no place for a stream", _leave_no_place, partial(_set, "most_streams", 20)),
    Fault("a line of 1.5 MB", _send_a_giant, _nothing, leaves=False),
    _knob("garbage between lines", "garbage", True, False),
    _knob("unknown types", "unknown_types", True, False),
    _knob("out of order and twice", "disorder", True, False),
    _knob("empty books", "empty_books", True, False),
    _knob("not tradeable", "tradeable", False, True),
    _knob("lines in pieces of 7 bytes", "cut_into", 7, 0),
    _knob("heartbeats only", "prices", False, True),
)


async def soak(
    seconds: float, hold: float, silence: float, stub: OandaStub, patience: float
) -> tuple[list[Result], Counter[str]]:
    """Every fault in turn, each for ``hold`` seconds, again and again until the time is up, but once at least.

    Raises AssertionError where something does not hold; ``patience`` is how long prices may take to be back.
    """
    holes: list[tuple[datetime, datetime]] = []
    source = source_at(stub, silence=silence, on_hole=lambda start, end: holes.append((start, end)))
    results = {fault.name: Result(fault.name) for fault in FAULTS}
    begun = time.monotonic()
    async with reading(source) as got:
        await wait_until(lambda: bool(got.quotes), "the first quotes", 30)
        for number, fault in enumerate(cycle(FAULTS)):
            if number >= len(FAULTS) and time.monotonic() - begun >= seconds:
                break
            result, reconnects, quotes = results[fault.name], len(holes), len(got.quotes)
            await _go_through(fault, stub, got, result, hold, patience)
            result.reconnects += len(holes) - reconnects
            result.quotes += len(got.quotes) - quotes
            assert not got.faults, got.faults
    assert all(start < end for start, end in holes)
    return list(results.values()), source.passed_over.counts


async def _go_through(fault: Fault, stub: OandaStub, got: Reading, result: Result, hold: float, patience: float) -> None:
    departures, started = len(stub.departures), time.monotonic()
    await fault.begin(stub)
    if fault.leaves:
        await wait_until(lambda: len(stub.departures) > departures, f"{fault.name}: the stream is left", patience)
        result.left_after.append(stub.departures[departures] - started)
    await asyncio.sleep(max(started + hold - time.monotonic(), 0))
    await fault.end(stub)
    ended = time.monotonic()
    await wait_until(lambda: got.newest_at > ended, f"{fault.name}: prices are back", patience)
    result.times += 1
    result.back_after.append(got.newest_at - ended)


@contextmanager
def _without_proxies() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in PROXY_VARIABLES if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(kept)


async def _main(minutes: float) -> None:
    silence, started = 10.0, time.monotonic()
    async with OandaStub() as stub:
        results, passed_over = await soak(minutes * 60, hold=8, silence=silence, stub=stub, patience=90)
    table = Table("fault", "times", "left after, s (longest)", "back after, s (longest)", "reconnects", "quotes")
    for result in results:
        left, back = (f"{max(times):.2f}" if times else "–" for times in (result.left_after, result.back_after))
        table.add_row(result.fault, str(result.times), left, back, str(result.reconnects), str(result.quotes))
    console = Console(width=130)
    console.print(table)
    rate = max(sum(at <= other < at + 1 for other in stub.connections) for at in stub.connections)
    quotes = sum(result.quotes for result in results)
    console.print(f"{time.monotonic() - started:.0f} s, {quotes} quotes, none twice or out of order")
    reconnects = sum(result.reconnects for result in results)
    console.print(f"{reconnects} reconnects, {len(stub.connections)} connections, {rate} of them in one second at most")
    console.print(f"passed over: {dict(passed_over)}")
    noticed = max(results[0].left_after)
    assert noticed < silence + 1, f"silence was noticed after {noticed:.1f} s"
    assert rate <= 2, f"{rate} connections in one second"


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    arguments = parser.parse_args()
    with _without_proxies():
        asyncio.run(_main(arguments.minutes))
