import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.bars.candle import Candle, CandleBuilder, Granularity, Ohlc, aggregate
from app.market.bars.live_bars import KEPT_FOR, LiveBars
from app.market.clock import parse_time
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.providers.replay.recording import Recording
from app.sources import SOURCES

_EUR_USD = CurrencyPair("EUR", "USD")
_START = parse_time("2026-01-14T09:00:10Z")
_LONG = (Granularity.H4, Granularity.D, Granularity.W, Granularity.M)
_States = dict[tuple[Granularity, datetime], Candle]


def _quote(time: datetime, points: int = 0, source: str = "oanda") -> Quote:
    bid = Decimal("1.10000") + points * Decimal("0.00001")
    return Quote(_EUR_USD, bid, bid + Decimal("0.00010"), time, source)


def _at(time: datetime, price: str) -> Quote:
    return Quote(_EUR_USD, Decimal(price), Decimal(price), time, "oanda")


def _directly(quotes: Sequence[Quote], granularity: Granularity) -> list[Candle]:
    """Bars made one length at a time, for comparison."""
    builder = CandleBuilder(_EUR_USD, granularity)
    closed = [bar for quote in quotes if (bar := builder.add(quote)) is not None]
    return [*closed, *([builder.unfinished] if builder.unfinished else [])]


def _live(
    quotes: Sequence[Quote], sizes: Sequence[int], bars: LiveBars | None = None
) -> dict[tuple[Granularity, datetime], Candle]:
    """The last state of every bar, the quotes coming in batches of these sizes."""
    bars = bars or LiveBars(_EUR_USD, SOURCES)
    states: _States = {}
    rest, number = list(quotes), 0
    while rest:
        size = sizes[number % len(sizes)]
        bars.add(rest[:size])
        states.update({(bar.granularity, bar.time): bar for bar in bars.changes()})
        rest, number = rest[size:], number + 1
    return states


@settings(max_examples=30)
@given(st.integers(0, 1000), st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(1, 4000))
def test_bars_of_every_length_are_those_of_the_quotes(seed: int, sizes: list[int], gap: int) -> None:
    chance = random.Random(seed)
    time, quotes = _START, []
    for _ in range(150):
        time += timedelta(seconds=chance.expovariate(1 / gap))
        quotes.append(_quote(time, chance.randrange(100)))
    live = _live(quotes, sizes)
    for granularity in Granularity:
        expected = _directly(quotes, granularity)
        assert [bar for (length, _), bar in live.items() if length is granularity] == expected


@pytest.mark.usefixtures("untraced_test")
def test_real_days_make_the_bars_that_their_quotes_make(fx_data: Path) -> None:
    files = [fx_data / "oanda" / "tick" / "eurusd" / f"201405{day}_quote.zip" for day in ("04", "05")]
    quotes = [Quote(row.pair, row.bid, row.ask, row.time, "oanda") for file in files for row in Recording(file).rows()]
    live = _live(quotes, [256])
    assert len(quotes) > 20_000
    for granularity in (Granularity.M1, Granularity.H1, Granularity.H4, Granularity.D, Granularity.M):
        assert [bar for (length, _), bar in live.items() if length is granularity] == _directly(quotes, granularity)


def test_they_go_on_where_others_left_off() -> None:
    quotes = [_quote(_START + timedelta(seconds=40 * number), number % 7) for number in range(400)]
    first, second = LiveBars(_EUR_USD, SOURCES), LiveBars(_EUR_USD, SOURCES)
    states = _live(quotes[:173], [10], first)
    unfinished = {bar.granularity: bar for bar in states.values() if not bar.complete}
    second.resume(unfinished.values())
    states |= _live(quotes[173:], [10], second)
    assert states == _live(quotes, [10])


def test_time_closes_bars_in_silence() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    bars.add([_quote(_START)])
    assert {bar.complete for bar in bars.changes()} == {False}
    bars.advance(_START + timedelta(seconds=49))
    assert bars.changes() == []
    bars.advance(_START + timedelta(seconds=50))
    [closed] = bars.changes()
    assert (closed.granularity, closed.complete) == (Granularity.M1, True)
    bars.advance(parse_time("2026-02-01T22:00:00Z"))
    assert [bar.granularity for bar in bars.changes()] == list(Granularity)[1:]


def test_a_quote_belongs_to_its_bar_though_a_heartbeat_has_overtaken_it() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    ten = parse_time("2026-01-14T10:00:00Z")
    bars.add([_at(ten + timedelta(seconds=1), "1.10")])
    bars.advance(ten + timedelta(seconds=10))
    bars.add([_at(ten + timedelta(seconds=9), "1.20")])
    bars.advance(ten + timedelta(hours=2))
    closed = {bar.granularity: bar for bar in bars.changes() if bar.complete}
    for length in (Granularity.M1, Granularity.M5, Granularity.M15, Granularity.H1):
        assert (closed[length].bid.high, closed[length].volume) == (Decimal("1.20"), 2)
    assert bars.late == 0


def test_a_bar_that_closed_too_early_is_corrected() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    bars.add([_quote(_START)])
    bars.advance(_START + timedelta(days=40))
    assert all(bar.complete and bar.volume == 1 for bar in bars.changes())
    bars.add([_quote(_START - timedelta(seconds=1), 99), _quote(_START + timedelta(seconds=1), -9)])
    corrected = bars.changes()
    assert [bar.granularity for bar in corrected] == list(Granularity)
    for bar in corrected:
        assert (bar.complete, bar.volume) == (True, 3)
        assert bar.bid == Ohlc(Decimal("1.10099"), Decimal("1.10099"), Decimal("1.09991"), Decimal("1.09991"))


def test_a_quote_hours_behind_the_newest_is_counted_and_in_no_bar() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    bars.add([_quote(_START)])
    bars.add([_quote(_START - KEPT_FOR - timedelta(minutes=1), 99), _quote(_START)])
    assert bars.late == 1
    assert {(bar.volume, bar.bid.high) for bar in bars.changes()} == {(2, Decimal("1.10000"))}


def _hours(source: str = "oanda") -> list[Candle]:
    """The hours of 2026-01-14 before the tenth, of two quotes each."""
    night = [_quote(parse_time(f"2026-01-14T{hour:02}:{minute}:00Z"), hour, source) for hour in range(9) for minute in (10, 50)]
    return aggregate(_directly(night, Granularity.M1), Granularity.H1, until=_START)


def test_bars_longer_than_an_hour_hold_the_hours_that_are_known() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    bars.rebase(_hours())
    bars.add([_quote(_START, -5)])
    today = {bar.granularity: bar for bar in bars.changes()}
    assert today[Granularity.H1].volume == 1
    assert today[Granularity.D].volume == 19
    assert (today[Granularity.D].bid.open, today[Granularity.D].bid.low) == (Decimal("1.10000"), Decimal("1.09995"))
    # In winter 01:00 to 05:00 in New York: three hours before the running one.
    assert today[Granularity.H4].time == parse_time("2026-01-14T06:00:00Z")
    assert today[Granularity.H4].volume == 7


def test_hours_that_come_to_be_known_later_count_too() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    bars.add([_quote(_START, -5)])
    bars.changes()
    bars.rebase(_hours())
    changed = {bar.granularity: bar for bar in bars.changes()}
    assert set(changed) == {Granularity.H4, Granularity.D, Granularity.W, Granularity.M}
    assert changed[Granularity.W].volume == 19
    assert not changed[Granularity.W].complete
    bars.add([_quote(_START + timedelta(minutes=1))])
    assert {bar.granularity: bar.volume for bar in bars.changes()}[Granularity.D] == 20


def test_real_and_invented_quotes_are_in_no_bar_together() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    bars.rebase(_hours("simulated"))
    bars.add([_quote(_START, source="simulated")])
    assert {bar.source for bar in bars.changes()} == {"simulated"}
    bars.add([_quote(_START + timedelta(seconds=1), source="oanda")])
    changed = bars.changes()
    assert {(bar.source, bar.volume) for bar in changed} == {("oanda", 1)}
    assert len(changed) == len(Granularity)


def test_a_start_in_the_middle_of_a_day_makes_no_complete_day_week_or_month() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    bars.listen(_START)
    bars.add([_quote(_START)])
    bars.advance(parse_time("2026-03-01T00:00:00Z"))
    closed = {bar.granularity: bar for bar in bars.changes()}
    assert {length for length, bar in closed.items() if not bar.complete} == set(_LONG)
    assert not any(bar.made.whole for bar in closed.values())
    assert closed[Granularity.D].made.covered == parse_time("2026-01-14T22:00:00Z") - _START


def test_stored_hours_up_to_the_start_make_the_day_whole_and_stored_days_the_week_and_month() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    start = parse_time("2026-01-14T09:00:00Z")
    bars.listen(start)
    turn = parse_time("2026-01-13T22:00:00Z")
    hours = [_filled(Granularity.H1, turn + timedelta(hours=number)) for number in range(11)]
    january = [parse_time("2025-12-31T22:00:00Z") + timedelta(days=number) for number in range(13)]
    days = [_filled(Granularity.D, day) for day in january if day.weekday() not in (4, 5)]
    bars.rebase(hours, days)
    bars.add([_quote(start)])
    running = {bar.granularity: bar for bar in bars.changes()}
    assert (running[Granularity.D].volume, running[Granularity.D].bid.open) == (12, Decimal("1.2"))
    assert running[Granularity.W].volume == 12 + 2
    assert running[Granularity.M].volume == 12 + len(days)
    assert not any(bar.complete for bar in running.values())
    bars.advance(parse_time("2026-02-01T22:00:00Z"))
    assert {bar.granularity for bar in bars.changes() if bar.complete} == set(Granularity)


@pytest.mark.parametrize("kept", [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [2, 3, 4, 5, 6, 7, 8, 9, 10], [0, 1, 2, 3, 6, 7, 8, 9, 10], []])
def test_missing_hours_before_the_start_leave_the_day_partial(kept: list[int]) -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    start = parse_time("2026-01-14T09:00:00Z")
    bars.listen(start)
    turn = parse_time("2026-01-13T22:00:00Z")
    bars.rebase([_filled(Granularity.H1, turn + timedelta(hours=number)) for number in kept])
    bars.add([_quote(start)])
    bars.advance(parse_time("2026-01-14T22:00:00Z"))
    closed = {bar.granularity: bar for bar in bars.changes()}
    assert not closed[Granularity.D].complete
    assert closed[Granularity.D].volume == len(kept) + 1
    assert closed[Granularity.D].made.covered == timedelta(hours=len(kept) + 13)


def test_a_loss_leaves_the_bars_under_construction_partial_and_the_next_whole() -> None:
    bars = LiveBars(_EUR_USD, SOURCES)
    bars.add([_quote(_START)])
    bars.interrupt(_START + timedelta(minutes=20))
    bars.add([_quote(_START + timedelta(minutes=20)), _quote(_START + timedelta(minutes=61))])
    bars.advance(_START + timedelta(hours=2))
    hours = [bar for bar in bars.changes() if bar.granularity is Granularity.H1]
    assert [bar.made.whole for bar in hours] == [False, True]


def _filled(length: Granularity, start: datetime) -> Candle:
    """A complete bar as a source gives it, of one quote."""
    price = Ohlc.of(Decimal("1.2"))
    return Candle(_EUR_USD, length, start, price, price, price, 1, complete=True, source="oanda")


@pytest.mark.usefixtures("untraced_test")
def test_ten_thousand_orders_of_quotes_heartbeats_and_restarts_give_the_same_bars() -> None:
    """The same as a plain sort of the quotes by time makes, the last state of each bar being what is stored."""
    for seed in range(10_000):
        chance = random.Random(seed)
        start = parse_time(chance.choice(["2026-01-14T09:00:00Z", "2026-01-14T21:30:00Z", "2026-01-30T21:50:00Z"]))
        offsets = chance.sample(range(1, chance.choice([300, 5000])), chance.randint(2, 7))
        quotes = [_quote(start + timedelta(seconds=offset), chance.randrange(-99, 99)) for offset in offsets]
        end = start + timedelta(seconds=5000)

        bars, stored = LiveBars(_EUR_USD, SOURCES), _States()
        for quote in quotes:
            action = chance.random()
            if action < 0.3:
                bars.advance(start + timedelta(seconds=chance.randrange(10_000)))
            bars.add([quote])
            stored |= {(bar.granularity, bar.time): bar for bar in bars.changes()}
            if action > 0.7:
                bars = LiveBars(_EUR_USD, SOURCES)
                bars.resume(stored.values())
        bars.advance(parse_time("2026-02-28T00:00:00Z"))
        stored |= {(bar.granularity, bar.time): bar for bar in bars.changes()}

        assert max(quote.time for quote in quotes) < end
        assert stored == _plainly(quotes), seed
        assert bars.late == 0


def _plainly(quotes: Sequence[Quote]) -> _States:
    """The bars of quotes, each worked out at once from all of its quotes in order of time."""
    made: _States = {}
    in_order = sorted(quotes, key=lambda quote: quote.time)
    for granularity in Granularity:
        for start in {granularity.start(quote.time) for quote in in_order}:
            inside = [quote for quote in in_order if granularity.start(quote.time) == start]
            sides = ([q.bid for q in inside], [q.mid for q in inside], [q.ask for q in inside])
            bid, mid, ask = (Ohlc(side[0], max(side), min(side), side[-1]) for side in sides)
            made[granularity, start] = Candle(_EUR_USD, granularity, start, bid, mid, ask, len(inside), True, "oanda")
    return made
