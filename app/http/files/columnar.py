"""Tables as Parquet files and Arrow streams. They need pyarrow, the optional extra ``arrow``."""

import io
from collections.abc import Sequence
from typing import Any

from app.errors import NotAcceptable
from app.http.files.tables import Column, Encoder, Kind, Row

_MISSING = "This form needs pyarrow, which this gateway does not have: pip install 'fx-gateway[arrow]'. Ask for csv or ndjson"


class _Sink(io.RawIOBase):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def tell(self) -> int:
        return self._size

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class _ColumnarEncoder:
    """Every batch of rows is a row group of the file, or a record batch of the stream. Prices are float64, times microseconds."""

    def __init__(self, columns: Sequence[Column], *, parquet: bool) -> None:
        """Raises NotAcceptable without pyarrow."""
        try:
            import pyarrow
            import pyarrow.ipc
            import pyarrow.parquet
        except ImportError:
            raise NotAcceptable(_MISSING) from None
        self._arrow = pyarrow
        types = {
            Kind.TIME: pyarrow.timestamp("us", "UTC"),
            Kind.NUMBER: pyarrow.float64(),
            Kind.INTEGER: pyarrow.int64(),
            Kind.FLAG: pyarrow.bool_(),
            Kind.TEXT: pyarrow.string(),
            Kind.JSON: pyarrow.string(),
        }
        self._columns = columns
        self._schema = pyarrow.schema([(column.name, types[column.kind]) for column in columns])
        self._sink = _Sink()
        self._writer = (
            pyarrow.parquet.ParquetWriter(self._sink, self._schema, compression="zstd")
            if parquet
            else pyarrow.ipc.new_stream(self._sink, self._schema)
        )

    def begin(self) -> bytes:
        return self._sink.take()

    def rows(self, rows: Sequence[Row]) -> bytes:
        if rows:
            arrays = [self._array(column, values) for column, values in zip(self._columns, zip(*rows, strict=True), strict=True)]
            self._writer.write_batch(self._arrow.record_batch(arrays, schema=self._schema))
        return self._sink.take()

    def end(self) -> bytes:
        self._writer.close()
        return self._sink.take()

    def _array(self, column: Column, values: Sequence[Any]) -> Any:
        type = self._schema.field(column.name).type
        match column.kind:
            case Kind.TIME:
                return self._arrow.array(values, self._arrow.string()).cast(type)
            case Kind.NUMBER:
                return self._arrow.array([None if value is None else float(value) for value in values], type)
            case Kind.FLAG:
                return self._arrow.array([None if value is None else bool(value) for value in values], type)
            case Kind.JSON:
                return self._arrow.array([None if value is None else value.decode() for value in values], type)
            case _:
                return self._arrow.array(values, type)


def parquet_encoder(columns: Sequence[Column]) -> Encoder:
    """Return an encoder of a Parquet file, compressed with zstd. Raises NotAcceptable without pyarrow."""
    return _ColumnarEncoder(columns, parquet=True)


def arrow_encoder(columns: Sequence[Column]) -> Encoder:
    """Return an encoder of an Arrow IPC stream. Raises NotAcceptable without pyarrow."""
    return _ColumnarEncoder(columns, parquet=False)
