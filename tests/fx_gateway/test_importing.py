"""What the terminal shows of files being imported."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings, load_settings
from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.providers.bar_files.options import Options
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.market.candles import Candles
from fx_gateway.importing import dry_run_of, import_files
from tests.fx_gateway.terminal import Terminal

_EUR_USD, _USD_JPY = CurrencyPair("EUR", "USD"), CurrencyPair("USD", "JPY")
_OF_HOURS = Options(granularity=Granularity.H1)


def _settings(tmp_path: Path, **others: Any) -> Settings:
    return load_settings(**{"data_dir": tmp_path, "tracked_pairs": "EUR_USD,GBP_JPY,USD_JPY", **others})


async def _stored(settings: Settings, pair: CurrencyPair, granularity: Granularity) -> list[Candle]:
    async with open_database(settings.database_address) as database:
        return await Candles(database, SOURCES).page(pair, granularity, start=None, end=None, limit=10_000)


def _table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(("time,open,high,low,close", *rows)))
    return path


def _row(hour: int, price: str = "1.1") -> str:
    return f"2024-01-05T{hour:02}:00:00Z,{price},{price},{price},{price}"


async def test_the_account_of_a_file_has_every_row_and_the_reasons_and_examples_of_those_rejected(tmp_path: Path) -> None:
    rows = [_row(9), _row(10), "soon,1.1,1.1,1.1,1.1", _row(10), _row(11, "[red]1.1"), _row(12)]
    terminal, settings = Terminal(), _settings(tmp_path)
    [file] = [_table(tmp_path / "eurusd.csv", *rows)]
    assert await import_files(settings, [file], _OF_HOURS, terminal) is True
    assert terminal.lines == [
        "EUR_USD H1 bars from eurusd.csv",
        "6 rows read",
        "3 of them in bars",
        "1 rejected: not a time",
        "1 rejected: repeated time",
        "1 rejected: not a price",
        "3 bars new or changed",
        "5 longer bars rebuilt from them",
        "Read as a table with a header.",
        "line 4: not a time: soon,1.1,1.1,1.1,1.1",
        f"line 5: repeated time: {_row(10)}",
        f"line 6: not a price: {_row(11, '[red]1.1')}",
    ]
    assert [bar.time.hour for bar in await _stored(settings, _EUR_USD, Granularity.H1)] == [9, 10, 12]


async def test_several_files_have_an_account_each_in_the_order_given(tmp_path: Path) -> None:
    files = [_table(tmp_path / f"{name}.csv", _row(9), _row(10)) for name in ("usdjpy", "eurusd", "audusd", "eurusd-2")]
    terminal, settings = Terminal(), _settings(tmp_path)
    assert await import_files(settings, files, _OF_HOURS, terminal)
    titles = [line for line in terminal.lines if " bars from " in line]
    assert titles == [
        "USD_JPY H1 bars from usdjpy.csv",
        "EUR_USD H1 bars from eurusd.csv",
        "AUD_USD H1 bars from audusd.csv",
        "EUR_USD H1 bars from eurusd-2.csv",
    ]
    assert "2 bars not stored: AUD_USD is not tracked" in terminal.lines
    # The second file of a pair is read after the first, which is the same.
    assert terminal.lines[terminal.lines.index(titles[3]) :][3] == "0 bars new or changed"
    assert len(await _stored(settings, _USD_JPY, Granularity.H1)) == 2


async def test_a_file_whose_rows_name_their_pairs_is_shown_with_those_that_it_has(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    rows = [f"{pair},H1,{_row(9)}" for pair in ("EUR_USD", "USD_JPY", "AUD_USD")]
    path.write_text("\n".join(["pair,granularity,time,open,high,low,close", *rows]))
    terminal = Terminal()
    assert await import_files(_settings(tmp_path), [path], Options(), terminal)
    assert terminal.lines[0] == "bars from bars.csv EUR_USD H1, USD_JPY H1"


async def test_a_file_of_which_nothing_can_be_stored_is_none_of_use(tmp_path: Path) -> None:
    terminal = Terminal()
    file = _table(tmp_path / "audusd.csv", _row(9), _row(10))
    assert await import_files(_settings(tmp_path), [file], _OF_HOURS, terminal) is False
    assert "2 bars not stored: AUD_USD is not tracked" in terminal.lines


async def test_large_numbers_are_written_with_commas(tmp_path: Path, fx_data: Path) -> None:
    file = fx_data / "oanda" / "tick" / "eurusd" / "20140505_quote.zip"
    terminal = Terminal(interactive=True)
    assert await import_files(_settings(tmp_path), [file], Options(), terminal)
    assert "25,177 rows read" in terminal.lines
    assert any("20140505_quote.zip" in line and "rows" in line for line in terminal.lines)


async def test_a_file_that_is_damaged_ends_the_import(tmp_path: Path) -> None:
    packed = gzip.compress("\n".join(["time,open,high,low,close", *(_row(hour) for hour in range(24))] * 500).encode())
    damaged, sound = tmp_path / "eurusd.csv.gz", _table(tmp_path / "usdjpy.csv", _row(9))
    damaged.write_bytes(packed[:-20])
    with pytest.RaisesGroup(pytest.RaisesExc(SourceError, match=r"eurusd\.csv\.gz cannot be read")):
        await import_files(_settings(tmp_path), [damaged, sound], _OF_HOURS, Terminal())


async def test_a_dry_run_shows_how_the_first_rows_are_understood_and_stores_nothing(tmp_path: Path) -> None:
    rows = ["20120201 000000;1.306600;1.306670;1.306470;1.306500;0", "20120201 000100;1.306500;1.306620;1.306350;soon;0"]
    path = tmp_path / "DAT_ASCII_EURUSD_M1_201202.csv"
    path.write_text("\n".join([*rows, rows[0].replace("000000", "000200", 1)]))
    terminal = Terminal()
    assert await dry_run_of([path], Options(), terminal) is True
    assert terminal.lines == [
        "EUR_USD M1 bars from DAT_ASCII_EURUSD_M1_201202.csv",
        f"line 1: {rows[0]}",
        "EUR_USD at 2012-02-01T05:00:00.000000Z: one price 1.306600 1.306670 1.306470 1.306500",
        "line 3: 20120201 000200;1.306600;1.306670;1.306470;1.306500;0",
        "EUR_USD at 2012-02-01T05:02:00.000000Z: one price 1.306600 1.306670 1.306470 1.306500",
        "3 rows read",
        "2 of them in bars",
        "1 rejected: not a price",
        "2 EUR_USD M1 bars, from 2012-02-01T05:00Z to 2012-02-01T05:02Z",
        "Read as HistData M1.",
        "Times are read as EST, without summer time.",
        f"line 2: not a price: {rows[1]}",
        "Nothing was stored: this was a dry run.",
    ]
    assert list(tmp_path.iterdir()) == [path]


async def test_a_dry_run_shows_sides_and_the_bars_that_ticks_and_days_go_into(tmp_path: Path) -> None:
    ticks, days = tmp_path / "usdjpy.csv", tmp_path / "eurusd.csv"
    ticks.write_text("timestamp,bid,ask\n2012-02-01 00:00:30,86.655,86.728\n")
    days.write_text("Date,Open,High,Low,Close\n02/13/2012,1.1,1.2,1.0,1.1\n02/12/2012,1.1,1.2,1.0,1.1\n")
    terminal = Terminal()
    assert await dry_run_of([ticks], Options(), terminal) is False
    assert "USD_JPY at 2012-02-01T00:00:30.000000Z, in the bar of 2012-02-01T00:00Z: bid 86.655, ask 86.728" in terminal.lines
    assert await dry_run_of([days], Options(), terminal) is True
    assert "EUR_USD at 2012-02-12T00:00:00.000000Z, in the bar of 2012-02-12T22:00Z: one price 1.1 1.2 1.0 1.1" in terminal.lines


async def test_the_progress_has_a_percentage_and_rows_per_second(tmp_path: Path) -> None:
    rows = [_row(hour) for hour in range(24)]
    terminal = Terminal(interactive=True)
    assert await import_files(_settings(tmp_path), [_table(tmp_path / "eurusd.csv", *rows)], _OF_HOURS, terminal)
    shown = [line for line in terminal.lines if "rows/s" in line]
    assert any(re.search(r"100% 24 rows, [\d,]+ rows/s, storing", line) for line in shown), shown
