"""Dirty files through ``fx-gateway import``: every row is in a bar or counted under its reason, and nothing else is stored."""

import csv
import gzip
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from app.market.bars.candle import Candle, Granularity
from app.market.pair import CurrencyPair
from app.sources import SOURCES
from app.storage.database.database import open_database
from app.storage.market.candles import Candles
from tests.gateways import command
from tests.untraced import UNTRACED

EUR_USD, GBP_USD, USD_JPY = CurrencyPair("EUR", "USD"), CurrencyPair("GBP", "USD"), CurrencyPair("USD", "JPY")

_COUNT = re.compile(r"\s*([\d,]+)\s+(\S.*?)\s*")

_HEADER = "time,instrument,granularity,bid_o,bid_h,bid_l,bid_c,mid_o,mid_h,mid_l,mid_c,ask_o,ask_h,ask_l,ask_c,volume,complete"
_BIDS, _MIDS, _ASKS = "1.10,1.12,1.09,1.11", "1.11,1.13,1.10,1.12", "1.12,1.14,1.11,1.13"
_PRICES = f"{_BIDS},{_MIDS},{_ASKS}"

_WRONG = {
    "wrong number of columns": f"2026-01-05T10:00:00Z,EUR_USD,H1,{_BIDS},{_ASKS},7,true",
    "quotation marks that do not match": f'2026-01-05T10:00:00Z,"EUR_USD,H1,{_PRICES},7,true',
    "not complete": f"2026-01-05T10:00:00Z,EUR_USD,H1,{_PRICES},7,false",
    "not a time": f"the tenth hour,EUR_USD,H1,{_PRICES},7,true",
    "not a price": f"2026-01-05T10:00:00Z,EUR_USD,H1,1.10,NaN,1.09,1.11,{_MIDS},{_ASKS},7,true",
    "a price outside low and high": f"2026-01-05T10:00:00Z,EUR_USD,H1,1.10,1.12,1.11,1.11,{_MIDS},{_ASKS},7,true",
    "price not above 0": f"2026-01-05T10:00:00Z,EUR_USD,H1,1.10,1.12,0,1.11,{_MIDS},{_ASKS},7,true",
    "ask below bid at the close": f"2026-01-05T10:00:00Z,EUR_USD,H1,1.10,1.12,1.09,1.12,{_MIDS},1.12,1.14,1.11,1.11,7,true",
    "ask below bid at the open": f"2026-01-05T10:00:00Z,EUR_USD,H1,1.12,1.12,1.09,1.11,{_MIDS},1.11,1.14,1.11,1.13,7,true",
    "ask below bid at the high": f"2026-01-05T10:00:00Z,EUR_USD,H1,1.10,1.15,1.09,1.11,{_MIDS},{_ASKS},7,true",
    "ask below bid at the low": f"2026-01-05T10:00:00Z,EUR_USD,H1,{_BIDS},{_MIDS},1.12,1.14,1.08,1.13,7,true",
    "mid outside bid and ask": f"2026-01-05T10:00:00Z,EUR_USD,H1,{_BIDS},1.13,1.13,1.10,1.12,{_ASKS},7,true",
    "not a pair": f"2026-01-05T10:00:00Z,EUR_EUR,H1,{_PRICES},7,true",
    "not a granularity": f"2026-01-05T10:00:00Z,EUR_USD,H3,{_PRICES},7,true",
    "not the start of a bar of H1": f"2026-01-05T10:30:00Z,EUR_USD,H1,{_PRICES},7,true",
    "repeated time": f"2026-01-05T09:00:00Z,EUR_USD,H1,{_PRICES},8,true",
    "market closed": f"2026-01-03T08:00:00Z,EUR_USD,H1,{_PRICES},7,true",
    "not over yet": f"2099-01-05T10:00:00Z,EUR_USD,H1,{_PRICES},7,true",
}
"""A wrong row for each reason there is, by the reason. A bar of 09:00 has come before them."""


async def _import(folder: Path, *arguments: str | Path) -> tuple[int, dict[str, int], str]:
    """The exit code, the counts of the account by their words, and all that was said."""
    async with command("import", *arguments, cwd=folder, DATABASE_URL=f"sqlite:///{folder}/fx.db", **UNTRACED) as process:
        code = await process.wait(60)
    counts = {match[2]: int(match[1].replace(",", "")) for line in process.output if (match := _COUNT.fullmatch(line))}
    return code, counts, process.text


async def _stored(folder: Path, pair: CurrencyPair, granularity: Granularity) -> list[Candle]:
    async with open_database(f"sqlite:///{folder}/fx.db") as database:
        return await Candles(database, SOURCES).page(pair, granularity, start=None, end=None, limit=100_000)


def _rejected(counts: dict[str, int]) -> dict[str, int]:
    return {words.removeprefix("rejected: "): count for words, count in counts.items() if words.startswith("rejected: ")}


async def test_every_row_of_two_dirty_files_is_in_a_bar_or_counted_with_its_reason(fx_data: Path, tmp_path: Path) -> None:
    files = [fx_data / "fxcm" / f"gbpusd-m1-{side}-2012.csv.gz" for side in ("bid", "ask")]
    code, counts, text = await _import(tmp_path, *files)
    assert code == 0
    assert "GBP_USD M1 bars from gbpusd-m1-bid-2012.csv.gz and gbpusd-m1-ask-2012.csv.gz" in text

    bids, asks = (_rows_of(file) for file in files)
    assert bids.keys() == asks.keys()
    clean = {time: (bids[time], asks[time]) for time in bids if _is_sound(bids[time], asks[time])}
    rejected = _rejected(counts)
    assert counts["rows read"] == len(bids) == 30_117
    assert counts["of them in bars"] == counts["bars new or changed"] == len(clean) == 28_914
    assert sum(rejected.values()) == len(bids) - len(clean)
    assert rejected["ask below bid at the close"] == sum(asks[time][3] < bids[time][3] for time in bids) == 347
    for reason in rejected:
        assert len(re.findall(rf"(?m)^  line \d+: {reason}: bid 2012-02-", text)) == 3, "a few rows of each reason are shown"

    stored = await _stored(tmp_path, GBP_USD, Granularity.M1)
    assert {bar.time: (_prices(bar, "bid"), _prices(bar, "ask")) for bar in stored} == clean
    assert {bar.source for bar in stored} == {"fxcm"}

    code, counts, _ = await _import(tmp_path, *files)
    assert (code, counts["of them in bars"], counts["bars new or changed"]) == (0, len(clean), 0)


async def test_a_row_of_each_kind_that_is_wrong_is_counted_and_shown_and_the_others_are_stored(tmp_path: Path) -> None:
    good = [f"2026-01-05T{hour:02}:00:00Z,EUR_USD,H1,{_PRICES},7,true" for hour in (9, 11)]
    file = tmp_path / "history.csv"
    file.write_text("\n".join([_HEADER, good[0], *_WRONG.values(), "", good[1]]) + "\n")
    code, counts, text = await _import(tmp_path, file)
    assert code == 0
    assert _rejected(counts) == dict.fromkeys(_WRONG, 1)
    assert (counts["rows read"], counts["of them in bars"]) == (len(_WRONG) + 2, 2)
    for line, (reason, row) in enumerate(_WRONG.items(), 3):
        assert f"  line {line}: {reason}: {row[:80]}" in text
    stored = await _stored(tmp_path, EUR_USD, Granularity.H1)
    assert [(bar.time.hour, bar.volume, _prices(bar, "mid")) for bar in stored] == [
        (9, 7, tuple(map(Decimal, _MIDS.split(",")))),
        (11, 7, tuple(map(Decimal, _MIDS.split(",")))),
    ]


async def test_what_is_asked_for_is_taken_alone_and_the_rest_is_counted(tmp_path: Path) -> None:
    rows = [
        f"2026-01-05T0{hour}:00:00Z,{pair},{length},{_PRICES},7,true"
        for hour, pair, length in ((6, "EUR_USD", "H1"), (7, "USD_JPY", "H1"), (8, "EUR_USD", "M1"), (9, "EUR_USD", "H1"))
    ]
    file = tmp_path / "history.csv"
    file.write_text("\n".join([_HEADER, *rows]) + "\n")
    code, counts, _ = await _import(tmp_path, "--granularity", "H1", file)
    assert code == 0
    assert (counts["of them in bars"], _rejected(counts)) == (3, {"another granularity": 1})
    assert [bar.time.hour for bar in await _stored(tmp_path, EUR_USD, Granularity.H1)] == [6, 9]
    assert [bar.time.hour for bar in await _stored(tmp_path, USD_JPY, Granularity.H1)] == [7]


async def test_bars_of_a_pair_that_is_not_tracked_are_counted_and_not_stored(tmp_path: Path) -> None:
    rows = [
        f"2026-01-05T0{hour}:00:00Z,{pair},H1,{_PRICES},7,true"
        for hour, pair in ((6, "EUR_USD"), (6, "USD_SEK"), (7, "USD_SEK"), (7, "EUR_USD"), (8, "NOK_SEK"))
    ]
    file = tmp_path / "history.csv"
    file.write_text("\n".join([_HEADER, *rows]) + "\n")
    code, counts, _ = await _import(tmp_path, file)
    assert code == 0
    assert counts["bars not stored: USD_SEK is not tracked"] == 2
    assert counts["bars not stored: NOK_SEK is not tracked"] == 1
    assert counts["bars new or changed"] == 2
    assert len(await _stored(tmp_path, EUR_USD, Granularity.H1)) == 2
    assert await _stored(tmp_path, CurrencyPair("USD", "SEK"), Granularity.H1) == []


@pytest.mark.parametrize(
    ("name", "rows", "said"),
    [
        ("usdsek-h1.csv", [f"2026-01-05T0{n}:00:00Z,USD_SEK,H1,{_PRICES},7,true" for n in range(3)], "USD_SEK is not tracked"),
        ("eurusd-h1.csv", [f"2026-01-05T0{n}:30:00Z,EUR_USD,H1,{_PRICES},7,true" for n in range(3)], "not the start of a bar"),
    ],
)
async def test_a_file_of_which_no_row_is_stored_is_accounted_for_and_exit_code_1(
    tmp_path: Path, name: str, rows: Sequence[str], said: str
) -> None:
    (tmp_path / name).write_text("\n".join([_HEADER, *rows]) + "\n")
    code, counts, text = await _import(tmp_path, name)
    assert (code, counts["rows read"], counts["bars new or changed"]) == (1, 3, 0)
    assert said in text


async def test_an_option_that_names_a_pair_that_is_not_tracked_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / "bars.csv").write_text(f"{_HEADER}\n")
    code, _, text = await _import(tmp_path, "--pair", "USD_SEK", "bars.csv")
    assert code == 2
    assert text.count("\n") == 0
    assert "USD_SEK" in text
    assert not (tmp_path / "fx.db").exists()


# ---------------------------------------------------------------- the files read anew

_Prices = tuple[Decimal, ...]


def _rows_of(file: Path) -> dict[datetime, _Prices]:
    """Open, high, low and close by the time."""
    with gzip.open(file, "rt", newline="") as lines:
        rows = {
            datetime.fromisoformat(row["timestamp"]): tuple(Decimal(row[name]) for name in ("open", "high", "low", "close"))
            for row in csv.DictReader(lines)
        }
    assert min(rows) >= datetime(2012, 2, 1, tzinfo=UTC)
    assert max(rows) < datetime(2012, 3, 1, tzinfo=UTC) + timedelta(days=1)
    return rows


def _is_sound(bid: _Prices, ask: _Prices) -> bool:
    return all(below <= above for below, above in zip(bid, ask, strict=True))


def _prices(bar: Candle, side: str) -> _Prices:
    ohlc = {"bid": bar.bid, "mid": bar.mid, "ask": bar.ask}[side]
    return ohlc.open, ohlc.high, ohlc.low, ohlc.close
