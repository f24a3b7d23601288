"""The report on a hub's clients: which lag most, how many follow each pair, and that it fits its place."""

import asyncio

import pytest

from app.market.pair import DEFAULT_PAIRS
from app.realtime.contract.fields import LARGEST_COUNT
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import Transport
from app.realtime.monitoring import report
from app.realtime.monitoring.board import Board
from app.realtime.monitoring.report import MOST_LAGGARDS, Laggard, Report, Reports
from tests.realtime.listening import alert, stage, tick
from tests.waiting import wait_until


async def test_the_worst_come_first_and_clients_that_keep_up_not_at_all(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        worst, bad, on_time = (on.listen("EUR_USD", "USD_JPY") for _ in range(3))
        worst.room = 0
        await on.publish(tick())
        bad.room = 0
        await on.publish(tick(), alert())
        await on.publish(tick(), tick())
        assert not on_time.client.paused
        first, second = Report.of(on.hub, 2).laggards
        assert (first.behind_events, second.behind_events) == (4, 2)
        assert first.behind_ms >= second.behind_ms
        assert first.queued_bytes == worst.client.waiting_bytes > second.queued_bytes > 0
        assert (first.worker, first.transport, first.pairs, first.replaying) == (2, Transport.SSE, 2, False)
        worst.read()
        bad.read()
        assert Report.of(on.hub, 2).laggards == []


async def test_at_most_ten_are_listed_and_a_position_before_the_ring_is_unknown(valkey_url: str) -> None:
    async with stage(valkey_url, ring_size=16) as on:
        listeners = [on.listen("EUR_USD") for _ in range(MOST_LAGGARDS + 5)]
        for listener in listeners:
            listener.room = 0
        await on.publish(*(tick() for _ in range(4)))
        await on.publish(*(tick() for _ in range(40)))
        laggards = Report.of(on.hub, 1).laggards
        assert [laggard.behind_events for laggard in laggards] == [None] * MOST_LAGGARDS


async def test_the_followers_of_every_pair_are_counted(valkey_url: str) -> None:
    async with stage(valkey_url) as on:
        for pairs in (("EUR_USD",), ("EUR_USD", "USD_JPY"), ("EUR_USD", "USD_JPY"), DEFAULT_PAIRS, ()):
            on.listen(*pairs)
        followers = dict(zip(on.hub.pairs.names, Report.of(on.hub, 1).followers, strict=True))
        assert followers == {**dict.fromkeys(DEFAULT_PAIRS, 1), "EUR_USD": 4, "USD_JPY": 3}
        assert sum(followers.values()) == on.hub.statistics.subscriptions.value


@pytest.mark.parametrize("pairs", [1, 20, 1000])
def test_the_longest_report_fits_its_place(pairs: int) -> None:
    laggard = Laggard(
        client="-" * 8, transport=Transport.WEBSOCKET, worker=64, lagging_ms=10**10, behind_ms=10**10, behind_events=10**10,
        queued_bytes=LARGEST_COUNT, pairs=pairs, replaying=False, connected="2026-01-31T09:30:00.123456Z",
    )  # fmt: skip
    longest = Report(laggards=[laggard] * MOST_LAGGARDS, followers=[10**9] * pairs)
    place = Board.alone(Report.capacity(pairs)).place()
    text = longest.model_dump_json().encode()
    place.write(text)
    assert place.board.read(0, 60) == text


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Hub]:
    """The hubs that a report was made on, in order. A gateway in another thread may be asked at the same time."""
    hubs: list[Hub] = []

    def noted(hub: Hub, worker: int) -> Report:
        hubs.append(hub)
        return Report(laggards=[], followers=[hubs.count(hub)] * len(hub.pairs))

    monkeypatch.setattr(Report, "of", noted)
    return hubs


async def test_the_process_that_is_asked_reports_at_once_and_at_most_once_a_second(valkey_url: str, made: list[Hub]) -> None:
    async with stage(valkey_url) as on:
        reports = Reports(on.hub)
        first = reports.read()
        assert (list(first), made.count(on.hub)) == ([1], 1)
        while (again := reports.read()) == first:
            assert made.count(on.hub) == 1
            await asyncio.sleep(0.05)
        assert (made.count(on.hub), again[1].followers[0]) == (2, 2)


async def test_the_others_report_while_they_are_read(valkey_url: str, made: list[Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "_EVERY", 0.01)
    async with stage(valkey_url) as on:
        memory = bytearray(Board.size(2, Report.capacity(len(on.hub.pairs))))
        shared = Board(memory, 2)
        shared.start()
        asked, other = Reports(on.hub, shared.place(0)), Reports(on.hub, Board(memory, 2).place(1))
        running = asyncio.create_task(other.run())
        looked = 0

        def is_asked_for(board: Board) -> bool:
            nonlocal looked
            looked += 1
            return False

        with monkeypatch.context() as patch:
            patch.setattr(Board, "is_asked_for", property(is_asked_for))
            await wait_until(lambda: looked > 3, "it has looked whether reports are read")
            assert on.hub not in made
        asked.read()
        await wait_until(lambda: asked.read().keys() == {1, 2}, "the other one has reported too")
        running.cancel()
