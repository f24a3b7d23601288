from pathlib import Path

import pytest

from app.errors import SourceError
from app.providers.bar_files.bars import loading
from app.providers.bar_files.text import decoded
from tests.providers.bar_files.bars.tables import read, row, table


def test_a_file_of_too_many_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path / "eurusd.csv", [row(f"2012-02-01T{hour:02}:00Z", hour) for hour in range(9)])
    assert len(read(path)[1]) == 9
    monkeypatch.setattr(loading, "MOST_ROWS", 8)
    with pytest.raises(SourceError, match="has more than 8 rows; split it by months or years"):
        read(path)


def test_a_line_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoded, "LONGEST_LINE", 100)
    path = table(tmp_path / "eurusd.csv", ["x" * 101])
    path.write_text(path.read_text().rstrip("\n"))
    with pytest.raises(SourceError, match="which no table has"):
        read(path)


def test_rows_of_many_blocks_are_read_as_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(f"2012-02-{day:02}T{hour:02}:00Z", hour) for day in (1, 2, 6, 7) for hour in range(24)]
    rows[50] = "soon,1,1,1,1"
    path = table(tmp_path / "eurusd.csv", rows)
    whole, bars = read(path)
    monkeypatch.setattr(decoded.text_blocks, "__defaults__", (lambda fraction: None, 300))
    parts, same = read(path)
    assert (same, parts.examples, parts.rejected) == (bars, whole.examples, whole.rejected)
    assert whole.examples[0].line == 52
