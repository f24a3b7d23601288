import gzip
import itertools
import math
import random
import tracemalloc
import zipfile
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from app.errors import SourceError, SourceRefused
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.market.source import PriceSource
from app.providers.bar_files.text.decoded import read_lines
from app.providers.replay.recording import Recording
from app.providers.replay.source import ReplaySource
from tests.providers.turns import counted_turns


@pytest.fixture
def ticks(fx_data: Path) -> list[Path]:
    """Three days of two pairs, in no order of use."""
    return sorted((fx_data / "oanda" / "tick").glob("*/*.zip"), key=lambda path: path.name, reverse=True)


@pytest.fixture
def yen(fx_data: Path) -> Path:
    """A thousand ticks, made within 35 minutes."""
    return fx_data / "truefx" / "usdjpy-ticks.csv"


def _recorded(path: Path) -> list[tuple[datetime, str, str, str]]:
    """A tick zip's quotes, read in another way: time, pair, bid, ask."""
    midnight = datetime.strptime(path.name[:8], "%Y%m%d").replace(tzinfo=UTC)
    pair = CurrencyPair.parse(path.parent.name).name
    with zipfile.ZipFile(path) as archive:
        rows = [line.split(",") for line in archive.read(archive.namelist()[0]).decode().split()]
    return [(midnight + timedelta(milliseconds=int(time)), pair, bid, ask) for time, bid, ask in rows]


async def _take(quotes: AsyncIterator[Quote], count: int) -> list[Quote]:
    taken = []
    async for quote in quotes:
        taken.append(quote)
        if len(taken) == count:
            break
    return taken


def test_is_a_source_of_real_prices(yen: Path) -> None:
    source: PriceSource = ReplaySource([yen])
    assert (source.name, source.simulated) == ("replay", False)


@pytest.mark.usefixtures("untraced_test")
async def test_merges_days_and_pairs_in_the_order_of_time(ticks: list[Path]) -> None:
    recorded = sorted(row for path in ticks for row in _recorded(path))
    quotes = [quote async for quote in ReplaySource(ticks, speed=1e9).quotes()]
    played = [(quote.pair.name, str(quote.bid), str(quote.ask)) for quote in quotes]
    assert len(played) == len(recorded) == 150_903
    assert sorted(played) == sorted(row[1:] for row in recorded)
    assert [played[0], played[-1]] == [recorded[0][1:], recorded[-1][1:]]
    for folder, pair in (("eurusd", "EUR_USD"), ("nzdusd", "NZD_USD")):
        days = sorted(path for path in ticks if path.parent.name == folder)
        assert [price for price in played if price[0] == pair] == [row[1:] for day in days for row in _recorded(day)]
    assert all(earlier.time <= later.time for earlier, later in itertools.pairwise(quotes))
    assert {quote.source for quote in quotes} == {"replay"}


async def test_times_are_kept_and_paced_all_the_same(yen: Path) -> None:
    speed, started = 10_000, utc_now()
    quotes = [quote async for quote in ReplaySource([yen], speed, keeps_times=True).quotes()]
    recorded = [row.time for row in Recording(yen).rows()]
    assert [quote.time for quote in quotes] == recorded
    assert utc_now() - started >= (recorded[-1] - recorded[0]) / speed


async def test_times_are_shifted_to_now_and_run_at_the_speed(yen: Path) -> None:
    speed = 10_000
    rows = [line.split(",") for line in yen.read_text().splitlines()[1:]]
    recorded = [datetime.fromisoformat(time) for time, _, _ in rows]
    before = utc_now()
    quotes = []
    async for quote in ReplaySource([yen], speed).quotes():
        assert quote.time <= utc_now()
        quotes.append(quote)
    assert [(quote.bid, quote.ask) for quote in quotes] == [(Decimal(bid), Decimal(ask)) for _, bid, ask in rows]
    first = quotes[0].time
    assert before <= first <= before + timedelta(seconds=5)
    for quote, time in zip(quotes, recorded, strict=True):
        assert abs((quote.time - first) * speed - (time - recorded[0])) <= timedelta(microseconds=1) * speed
    assert utc_now() - before >= (recorded[-1] - recorded[0]) / speed


async def test_the_event_loop_goes_on_meanwhile(ticks: list[Path]) -> None:
    async with counted_turns() as turns:
        quotes = await _take(ReplaySource(ticks, speed=1e9).quotes(), 20_000)
    assert turns() >= len(quotes) / 500


async def test_a_file_is_never_held_whole(fx_data: Path) -> None:
    source = ReplaySource([fx_data / "oanda" / "hour" / "eurusd.zip"], math.inf)
    tracemalloc.start()
    try:
        quotes = await _take(source.quotes(), 2000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(quotes) == 2000
    assert peak < 3_000_000


async def test_a_second_run_begins_anew(yen: Path) -> None:
    source = ReplaySource([yen], 1e9)
    first, second = await _take(source.quotes(), 300), await _take(source.quotes(), 300)
    assert [(quote.bid, quote.ask) for quote in first] == [(quote.bid, quote.ask) for quote in second]
    assert second[0].time > first[0].time


async def test_the_malformed_rows_of_every_file_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    row = "2014-05-05 00:00:00,1.38710,1.38726\n"
    files = [tmp_path / "eurusd.csv", tmp_path / "nzdusd.csv"]
    for number, path in enumerate(files):
        path.write_text(row + "broken\n" * (number + 1) + row)
    source = ReplaySource(files)
    assert len([quote async for quote in source.quotes()]) == 4
    for path, count in zip(files, (1, 2), strict=True):
        assert f"{path}: {count} rows could not be read" in caplog.text


async def test_a_file_that_goes_away_ends_the_run(tmp_path: Path) -> None:
    path = tmp_path / "eurusd.csv"
    path.write_text("2014-05-05 00:00:00,1.38710,1.38726\n")
    source = ReplaySource([path])
    path.unlink()
    with pytest.raises(SourceRefused, match=r"eurusd\.csv cannot be read: No such file or directory; the replay ends there"):
        await _take(source.quotes(), 2)


async def test_a_file_that_is_damaged_in_the_middle_is_played_up_to_there_and_never_again(tmp_path: Path) -> None:
    digits = random.Random(1)
    rows = [f"2014-05-05 00:00:00.{number:06},1.3{digits.randrange(10_000):04},1.5" for number in range(20_000)]
    packed = gzip.compress("\n".join(rows).encode())
    (tmp_path / "eurusd.csv.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "usdjpy.csv").write_text("2014-05-05 00:00:00,86.1,86.2\n2014-05-05 01:00:00,86.1,86.2\n")
    sound: list[str] = []
    with suppress(SourceError):
        sound.extend(read_lines(tmp_path / "eurusd.csv.gz"))
    assert 8_000 < len(sound) < 12_000
    quotes: list[Quote] = []

    async def play() -> None:
        async for quote in ReplaySource([tmp_path / "eurusd.csv.gz", tmp_path / "usdjpy.csv"], 1e9).quotes():
            quotes.append(quote)  # noqa: PERF401 - kept although the replay fails

    with pytest.raises(SourceRefused, match=r"eurusd\.csv\.gz cannot be read: .*starting over would not help"):
        await play()
    played = [f"{quote.bid}" for quote in quotes if quote.pair == CurrencyPair("EUR", "USD")]
    assert played == [row.split(",")[1] for row in sound]
    assert len(quotes) == len(played) + 1


def test_a_file_that_cannot_be_read_is_found_at_once(yen: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"missing\.zip cannot be read: No such file or directory"):
        ReplaySource([yen, tmp_path / "missing.zip"])


def test_no_file_is_no_replay() -> None:
    with pytest.raises(SourceError, match="at least one file"):
        ReplaySource([])
