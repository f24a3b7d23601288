import gzip
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.providers.bar_files.text import day_in_name, pair_in_name, read_lines


def test_plain_and_packed_files_have_the_same_lines(tmp_path: Path) -> None:
    text = "\ufeffone\r\nzwei ü\nthree".encode()
    (tmp_path / "rows.csv").write_bytes(text)
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows.csv", text)
    for name in ("rows.csv", "rows.csv.gz", "rows.zip"):
        assert list(read_lines(tmp_path / name)) == ["one\n", "zwei ü\n", "three"]


def test_what_is_not_utf_8_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"\xff1\n2")
    assert list(read_lines(tmp_path / "rows.csv")) == ["\ufffd1\n", "2"]


@pytest.mark.parametrize(
    ("path", "pair"),
    [
        ("eurusd.zip", "EUR_USD"),
        ("EUR_USD.csv", "EUR_USD"),
        ("gbpusd-m1-bid-2012.csv.gz", "GBP_USD"),
        ("EUR_USD_H1.csv", "EUR_USD"),
        ("eurusd2014.csv", "EUR_USD"),
        ("usdjpy/20140505_quote.zip", "USD_JPY"),
        ("usdjpy/quotations.zip", "USD_JPY"),
        ("usdjpy/eurusd.zip", "EUR_USD"),
        ("data/rows.csv", None),
        ("data/eureur.csv", None),
    ],
)
def test_the_pair_begins_the_name_or_is_the_folder_s(path: str, pair: str | None) -> None:
    found = pair_in_name(Path("/") / path)
    assert (None if found is None else found.name) == pair


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("20140505_quote.zip", datetime(2014, 5, 5, tzinfo=UTC)),
        ("20140505.zip", datetime(2014, 5, 5, tzinfo=UTC)),
        ("20141305_quote.zip", None),
        ("eurusd.zip", None),
    ],
)
def test_the_day_begins_the_name(name: str, day: datetime | None) -> None:
    assert day_in_name(Path(name)) == day
