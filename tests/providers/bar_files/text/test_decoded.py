import gzip
import zipfile
from pathlib import Path

from app.providers.bar_files.text.decoded import read_lines


def test_plain_and_packed_files_have_the_same_lines(tmp_path: Path) -> None:
    text = "\ufeffone\r\nzwei ü\nthree".encode()
    (tmp_path / "rows.csv").write_bytes(text)
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(text))
    with zipfile.ZipFile(tmp_path / "rows.zip", "w") as archive:
        archive.writestr("rows.csv", text)
    for name in ("rows.csv", "rows.csv.gz", "rows.zip"):
        assert list(read_lines(tmp_path / name)) == ["one", "zwei ü", "three"]


def test_what_is_not_utf_8_is_read_as_windows_writes_it(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("Eröffnung\n2".encode("cp1252"))
    assert list(read_lines(tmp_path / "rows.csv")) == ["Eröffnung", "2"]
