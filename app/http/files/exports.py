"""Lists of history as files: which form a request asks for, and a streamed answer in it, compressed if the client allows."""

import asyncio
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from enum import StrEnum
from typing import Annotated, Any

from fastapi import Depends, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from app.errors import GatewayError, NotAcceptable
from app.http.files.columnar import arrow_encoder, parquet_encoder
from app.http.files.tables import Column, CsvEncoder, Encoder, NdjsonEncoder, Row
from app.http.refusals import refusals

BATCH = 5000
"""The number of rows that an export reads and encodes at a time."""


class Format(StrEnum):
    """The form of a list."""

    JSON = "json"
    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"
    ARROW = "arrow"


_MEDIA_TYPES: Mapping[Format, str] = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.NDJSON: "application/x-ndjson",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}
_ENCODERS: Mapping[Format, Callable[[Sequence[Column]], Encoder]] = {
    Format.CSV: CsvEncoder,
    Format.NDJSON: NdjsonEncoder,
    Format.PARQUET: parquet_encoder,
    Format.ARROW: arrow_encoder,
}
_SUFFIXES = {Format.ARROW: "arrows"}

_NOT_ACCEPTABLE = NotAcceptable("This form needs pyarrow, which this gateway does not have")


def with_files(*examples: GatewayError) -> dict[int | str, dict[str, Any]]:
    """The ``responses`` of an operation that answers with a list or a file, and may answer with these errors.

    The files are described in words. Were they contents beside the JSON, every generated client would take the answer for a text
    or a list, and its users would have to find out which.
    """
    types = ", ".join(f"`{media_type}`" for format, media_type in _MEDIA_TYPES.items() if format is not Format.JSON)
    return {
        200: {"description": f"The list as JSON or, if asked for, as a file: {types}"},
        **refusals(_NOT_ACCEPTABLE, *examples),
    }


async def chosen_format(
    request: Request,
    format: Annotated[
        Format | None,
        Query(
            description="The form of the list; without it the header `Accept` decides, and else it is JSON. Files have plain "
            "columns, and numbers instead of texts. `parquet` and `arrow` need pyarrow on the gateway"
        ),
    ] = None,
) -> Format:
    """A dependency: the form that a request asks for."""
    return format or _accepted(request.headers.get("accept", ""))


ChosenFormat = Annotated[Format, Depends(chosen_format)]


def _accepted(header: str) -> Format:
    """Return the form that an ``Accept`` names with the highest weight, JSON if it names none."""
    best, weight = Format.JSON, 0.0
    for item in header.split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        for format, media_type in _MEDIA_TYPES.items():
            if name.lower() == media_type and (given := _weight(parameters)) > weight:
                best, weight = format, given
    return best


def _weight(parameters: Sequence[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0
    return 1


async def exported(
    request: Request, format: Format, name: str, columns: Sequence[Column], batches: AsyncGenerator[Sequence[Row]]
) -> Response:
    """Return the rows as a file called ``name``, streamed: one batch is in memory at a time.

    The first batch is read before the answer begins, so its errors are answered as usual; a later one breaks the answer off.
    Raises NotAcceptable if the form is not available.
    """
    encoder = _ENCODERS[format](columns)
    first: Sequence[Row] = await anext(batches, [])
    compressed = _takes_gzip(request)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{_SUFFIXES.get(format, format.value)}"',
        "Vary": "Accept, Accept-Encoding",
    }
    parts = _parts(encoder, first, batches)
    if compressed:
        headers["Content-Encoding"] = "gzip"
        parts = _gzipped(parts)
    media_type = _MEDIA_TYPES[format]
    return StreamingResponse(parts, media_type=media_type, headers=headers)


async def in_batches(rows: Sequence[Row]) -> AsyncGenerator[Sequence[Row]]:
    """Yield rows that are in memory already, a batch at a time."""
    for first in range(0, len(rows), BATCH):
        yield rows[first : first + BATCH]


async def _parts(encoder: Encoder, first: Sequence[Row], rest: AsyncGenerator[Sequence[Row]]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield encoder.begin() + await asyncio.to_thread(encoder.rows, first)
        async for batch in rest:
            yield await asyncio.to_thread(encoder.rows, batch)
        yield encoder.end()


async def _gzipped(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    packer = zlib.compressobj(level=1, wbits=zlib.MAX_WBITS + 16)
    async for part in parts:
        if packed := await asyncio.to_thread(packer.compress, part):
            yield packed
    yield packer.flush()


def _takes_gzip(request: Request) -> bool:
    """Return True if ``Accept-Encoding`` names gzip with a weight."""
    for item in request.headers.get("accept-encoding", "").split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        if name.lower() == "gzip":
            return _weight(parameters) > 0
    return False
