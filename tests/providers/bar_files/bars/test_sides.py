"""Rows whose ask is below the bid: rejected, kept or set right."""

from decimal import Decimal
from pathlib import Path

import pytest

from app.providers.bar_files.opening import open_bar_files
from app.providers.bar_files.options import Crossed, Options
from tests.providers.bar_files.bars.tables import read, table

_HEADER = "time,bid_open,bid_high,bid_low,bid_close,ask_open,ask_high,ask_low,ask_close"
_GOOD = "2012-02-01T00:00Z,1.1,1.4,1.0,1.2,1.3,1.5,1.2,1.3"
_CROSSED = "2012-02-01T01:00Z,1.1,1.4,1.0,1.3,1.2,1.4,1.1,1.2"


@pytest.mark.parametrize(
    ("crossed", "closes", "rejected"),
    [
        (Crossed.REJECT, [("1.2", "1.3")], 1),
        (Crossed.KEEP, [("1.2", "1.3"), ("1.3", "1.2")], 0),
        (Crossed.SWAP, [("1.2", "1.3"), ("1.2", "1.3")], 0),
    ],
)
def test_a_crossed_bar(tmp_path: Path, crossed: Crossed, closes: list[tuple[str, str]], rejected: int) -> None:
    file, bars = read(table(tmp_path / "eurusd.csv", [_GOOD, _CROSSED], _HEADER), Options(crossed=crossed))
    assert [(bar.bid.close, bar.ask.close) for bar in bars] == [(Decimal(bid), Decimal(ask)) for bid, ask in closes]
    assert file.rejected == ({"ask below bid at the close": 1} if rejected else {})
    if crossed is Crossed.SWAP:
        assert (bars[1].bid.open, bars[1].ask.open, bars[1].mid.close) == (Decimal("1.1"), Decimal("1.2"), Decimal("1.25"))


@pytest.mark.parametrize(("crossed", "quotes"), [("reject", 2), ("keep", 3), ("swap", 3)])
def test_a_crossed_tick(tmp_path: Path, crossed: str, quotes: int) -> None:
    rows = [
        "2012-02-01 00:00:00,1.1,1.2",
        "2012-02-01 00:00:01,1.4,1.3",
        "2012-02-01 00:00:02,1.1,1.2",
        "2012-02-01 00:01:00,1,2",
    ]
    _, [bar] = read(table(tmp_path / "eurusd.csv", rows, "timestamp,bid,ask"), Options(crossed=Crossed(crossed)))
    assert bar.volume == quotes
    highest = {"reject": ("1.1", "1.2"), "keep": ("1.4", "1.3"), "swap": ("1.3", "1.4")}[crossed]
    assert (bar.bid.high, bar.ask.high) == tuple(map(Decimal, highest))


@pytest.mark.parametrize(("crossed", "count"), [(Crossed.REJECT, 28_914), (Crossed.KEEP, 30_117), (Crossed.SWAP, 30_117)])
def test_crossed_rows_of_two_files(fx_data: Path, crossed: Crossed, count: int) -> None:
    files = [fx_data / "fxcm" / f"gbpusd-m1-{side}-2012.csv.gz" for side in ("bid", "ask")]
    [reader] = open_bar_files(files, Options(crossed=crossed))
    bars = list(reader.candles())
    assert (len(bars), reader.rows, reader.rejected.total()) == (count, 30_117, 30_117 - count)
    assert any(bar.ask.close < bar.bid.close for bar in bars) is (crossed is Crossed.KEEP)
