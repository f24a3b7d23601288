"""Tables as Parquet files and Arrow streams, read with pyarrow."""

import io
import sys
from datetime import UTC, datetime

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from app.errors import NotAcceptable
from app.http.files.columnar import arrow_encoder, parquet_encoder
from tests.http.files.test_tables import COLUMNS, ROWS, encoded

READ = [
    [datetime(2026, 1, 5, tzinfo=UTC), 1.0945, 12, True, 'a "name", with\na line', '{"a":\r\n[1]}'],
    [datetime(2026, 1, 5, 1, tzinfo=UTC), 0.1, 0, False, "", "null"],
    [None] * 6,
]


def test_a_parquet_file() -> None:
    file = pyarrow.parquet.ParquetFile(io.BytesIO(encoded(parquet_encoder(COLUMNS))))
    table = file.read()
    assert file.num_row_groups == 2
    assert [list(row.values()) for row in table.to_pylist()] == READ
    assert [str(type) for type in table.schema.types] == ["timestamp[us, tz=UTC]", "double", "int64", "bool", "string", "string"]


def test_an_arrow_stream() -> None:
    table = pyarrow.ipc.open_stream(encoded(arrow_encoder(COLUMNS))).read_all()
    assert [list(row.values()) for row in table.to_pylist()] == READ


def test_a_table_without_rows_keeps_its_columns() -> None:
    table = pyarrow.parquet.read_table(io.BytesIO(encoded(parquet_encoder(COLUMNS), [])))
    assert (table.num_rows, table.column_names) == (0, [column.name for column in COLUMNS])
    assert pyarrow.ipc.open_stream(encoded(arrow_encoder(COLUMNS), [])).read_all().num_rows == 0


def test_rows_are_encoded_as_they_come() -> None:
    encoder = arrow_encoder(COLUMNS)
    assert len(encoder.begin() + encoder.rows(ROWS)) > 100


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(NotAcceptable, match="pip install 'fx-gateway\\[arrow\\]'"):
        parquet_encoder(COLUMNS)
