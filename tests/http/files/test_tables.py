"""Tables as CSV and as lines of JSON."""

import csv
import io
import json

from app.http.files.tables import Column, CsvEncoder, Encoder, Kind, NdjsonEncoder, Row

COLUMNS = [Column(kind.value, kind) for kind in Kind]
ROWS: list[Row] = [
    ("2026-01-05T00:00:00.000000Z", "1.09450", 12, True, 'a "name", with\na line', b'{"a":\r\n[1]}'),
    ("2026-01-05T01:00:00.000000Z", 0.1, 0, 0, "", b"null"),
    (None, None, None, None, None, None),
]


def encoded(encoder: Encoder, rows: list[Row] = ROWS) -> bytes:
    return encoder.begin() + encoder.rows(rows[:1]) + encoder.rows(rows[1:]) + encoder.end()


def test_csv_has_a_header_and_the_digits_of_prices() -> None:
    read = list(csv.reader(io.StringIO(encoded(CsvEncoder(COLUMNS)).decode(), newline="")))
    assert read == [
        ["time", "number", "integer", "flag", "text", "json"],
        ["2026-01-05T00:00:00.000000Z", "1.09450", "12", "1", 'a "name", with\na line', '{"a":\r\n[1]}'],
        ["2026-01-05T01:00:00.000000Z", "0.1", "0", "0", "", "null"],
        [""] * 6,
    ]


def test_a_table_without_rows_is_its_header() -> None:
    assert encoded(CsvEncoder(COLUMNS), []) == b"time,number,integer,flag,text,json\n"
    assert encoded(NdjsonEncoder(COLUMNS), []) == b""


def test_lines_of_json_have_numbers() -> None:
    lines = encoded(NdjsonEncoder(COLUMNS)).splitlines()
    assert b'"number":1.09450,' in lines[0]
    assert [list(json.loads(line).values()) for line in lines] == [
        ["2026-01-05T00:00:00.000000Z", 1.0945, 12, True, 'a "name", with\na line', {"a": [1]}],
        ["2026-01-05T01:00:00.000000Z", 0.1, 0, False, "", None],
        [None] * 6,
    ]
