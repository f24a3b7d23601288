"""Candles in JSON, as returned by OANDA's REST API, and lists of records, converted to a table with a header."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import orjson

from app.errors import SourceError

MOST_BYTES = 256 << 20
"""Maximum bytes of a JSON file, which is read into memory."""

_SIDES = ("bid", "mid", "ask")
_PRICES = ("o", "h", "l", "c")


def is_json(beginning: bytes) -> bool:
    """Return True if text with this beginning is a JSON object or array."""
    return beginning.lstrip()[:1] in (b"{", b"[")


def lines_of_json(path: Path, text: bytes) -> bytes:
    """Return a header and a line per candle. Raises SourceError for JSON without a list of candles or records.

    OANDA's format is https://developer.oanda.com/rest-live-v20/instrument-df/ (CandlestickResponse).
    """
    try:
        whole = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise SourceError(f"{path} cannot be read: not JSON: {error}") from error
    records = whole.get("candles") if isinstance(whole, Mapping) else whole
    if not isinstance(records, list) or not records or not all(isinstance(record, Mapping) for record in records):
        raise SourceError(f"{path} cannot be imported: its JSON holds no list of candles")
    named = {key: whole[key] for key in ("instrument", "granularity") if key in whole} if isinstance(whole, Mapping) else {}
    rows = [{**named, **dict(_flat(record))} for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(names)
    for row in rows:
        table.writerow([_text(row.get(name)) for name in names])
    return out.getvalue().encode("utf-8", "replace")


def _flat(record: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield the fields of a candle, with the prices of each side as ``bid_o`` and so on."""
    for name, value in record.items():
        if name in _SIDES and isinstance(value, Mapping):
            yield from ((f"{name}_{price}", value.get(price)) for price in _PRICES)
        elif value is None or isinstance(value, (str, int, float)):
            yield name, value


def _text(value: object) -> str:
    """Format a value in one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value).replace("\n", " ").replace("\r", " ")
