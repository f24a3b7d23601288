"""``/api/v1/candles``: bars of a pair, or of several, as JSON or as files."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import date, datetime
from functools import partial
from itertools import permutations
from operator import itemgetter
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from app.errors import InvalidRequest, NoData
from app.http.bar_json import rows_of, sides_of
from app.http.bars import bars_in_batches
from app.http.files.exports import ChosenFormat, Format, exported, with_files
from app.http.files.tables import Column, Kind, Row
from app.http.gateway import CurrentGateway, Gateway
from app.http.parameters import EndTime, Instrument, PairsOrAll, StartTime, interval, pairs_or_all
from app.http.refusals import NO_DATABASE, RATE_LIMITED, UNKNOWN_PAIR, WRONG_LIMIT
from app.market.bars.candle import Granularity
from app.market.clock import parse_time, rfc3339
from app.market.pair import CurrencyPair
from app.realtime.contract.fields import Message, PairName, PriceText, TimeText
from app.storage.market.bar_texts import BarTexts

router = APIRouter(prefix="/api/v1/candles", tags=["candles"])

_MOST_BARS = 5000
_MOST_OF_ALL = 20_000
_BY_DEFAULT = 24
_MANY_BARS = 500  # above this, encoding takes longer than handing over to a thread

_LETTERS = ["".join(chosen) for length in (1, 2, 3) for chosen in permutations("BMA", length)]
_Letters = Annotated[str, WithJsonSchema({"type": "string", "enum": _LETTERS, "examples": ["M"]})]


class BarPrices(Message):
    """The open, high, low and close of a bar."""

    o: PriceText
    h: PriceText
    l: PriceText  # noqa: E741 - the contract's name
    c: PriceText


class Bar(Message):
    """A bar: the prices from its start, inclusive, to the start of the next."""

    time: TimeText = Field(description="Start of the bar: RFC 3339, UTC")
    granularity: Granularity
    complete: bool = Field(description="False while prices may still be added to it")
    bid: BarPrices | None = Field(None, description="Absent unless `price` contains B")
    mid: BarPrices | None = Field(
        None, description="Absent unless `price` contains M. A mid between two prices at the pair's precision has one digit more"
    )
    ask: BarPrices | None = Field(None, description="Absent unless `price` contains A")
    volume: int = Field(description="Number of prices in the bar; 0 if its source does not report it", examples=[1432])
    source: str = Field(description="The source of its prices; those of `simulated` are not real", examples=["oanda"])
    trading_day: date | None = Field(None, description="The date of its end in New York; absent for bars shorter than a day")


class Bars(Message):
    """Bars of a pair, oldest first."""

    instrument: PairName
    granularity: Granularity
    count: int = Field(description="Number of bars", examples=[24])
    candles: list[Bar] = Field(description="The bars, oldest first")
    next: TimeText | None = Field(
        description="Pass this as `start_time` to continue. With `start_time` it leads to the next page and is null on the last. "
        "Without, it leads to the bars that follow, starting with the last one again if that is not complete"
    )


class BarsOfPairs(Message):
    """Bars of several pairs."""

    granularity: Granularity
    count: int = Field(description="Number of bars of all pairs", examples=[48])
    pairs: list[Bars] = Field(description="The bars of each pair, in the order of the request")


Length = Annotated[Granularity, Query(description="The length of a bar; H4, D, W and M follow the trading day of New York")]
Limit = Annotated[
    int | None,
    Query(
        ge=1, le=_MOST_BARS, description=f"Maximum number of bars of a pair; without it {_BY_DEFAULT} in JSON, and all in a file"
    ),
]
Letters = Annotated[_Letters, Query(description="Which prices: any of the letters M (mid), B (bid) and A (ask)")]


@router.get(
    "",
    operation_id="get_candles_of_pairs",
    summary="Bars of several pairs",
    response_model=BarsOfPairs,
    responses=with_files(UNKNOWN_PAIR, WRONG_LIMIT, RATE_LIMITED, NO_DATABASE),
)
async def get_candles_of_pairs(
    request: Request,
    gateway: CurrentGateway,
    format: ChosenFormat,
    pairs: PairsOrAll,
    granularity: Length = Granularity.H1,
    limit: Limit = None,
    start_time: StartTime = None,
    end_time: EndTime = None,
    price: Letters = "MBA",
) -> Response:
    """Return the bars of each pair as those of a single one. The rows of a file have the pair, one pair after the other.

    The JSON holds at most 20000 bars. A pair without bars has an empty list.
    """
    chosen = [
        gateway.hub.pairs.find(name) for name in sorted(pairs_or_all(pairs, gateway.hub.pairs), key=gateway.hub.pairs.names.index)
    ]
    _check_letters(price)
    start, end = interval(start_time, end_time)
    if format is not Format.JSON:
        rows = _rows(gateway, chosen, granularity, (start, end, limit), price, named=True)
        return await exported(request, format, f"candles_{granularity}", _columns(price, named=True), rows)
    size = limit or _BY_DEFAULT
    if size * len(chosen) > _MOST_OF_ALL:
        raise InvalidRequest(f"limit: at most {_MOST_OF_ALL // len(chosen)} bars of each of {len(chosen)} pairs")
    bodies, count = [], 0
    for pair in chosen:
        bars = await _read(gateway, pair, granularity, start, end, size)
        bodies.append(await asyncio.to_thread(_page, pair, granularity, bars, size, start is not None, price))
        count += min(size, len(bars))
    body = b'{"granularity":"%s","count":%d,"pairs":[%s]}' % (granularity.encode(), count, b",".join(bodies))
    return Response(body, media_type="application/json")


@router.get(
    "/{instrument}",
    operation_id="get_candles",
    summary="Bars of a pair",
    response_model=Bars,
    responses=with_files(UNKNOWN_PAIR, WRONG_LIMIT, NoData("No H1 bars of EUR_USD are stored"), RATE_LIMITED, NO_DATABASE),
)
async def get_candles(
    request: Request,
    gateway: CurrentGateway,
    format: ChosenFormat,
    instrument: Instrument,
    granularity: Length = Granularity.H1,
    limit: Limit = None,
    start_time: StartTime = None,
    end_time: EndTime = None,
    price: Letters = "MBA",
) -> Response:
    """Return bars that start within the interval, including one that is not complete yet.

    With `start_time` they are the first bars from there, without it the last bars before `end_time`, or before now. A time
    without prices has no bar, and an interval without bars is answered with an empty list.
    """
    pair = gateway.hub.pairs.find(instrument)
    _check_letters(price)
    start, end = interval(start_time, end_time)
    if format is not Format.JSON:
        rows = _rows(gateway, [pair], granularity, (start, end, limit), price, named=False)
        return await exported(request, format, f"{pair}_{granularity}", _columns(price, named=False), rows)
    size = limit or _BY_DEFAULT
    bars = await _read(gateway, pair, granularity, start, end, size)
    if not bars and start is None and end is None:
        raise NoData(f"No {granularity} bars of {pair} are stored")
    page = partial(_page, pair, granularity, bars, size, start is not None, price)
    body = await asyncio.to_thread(page) if len(bars) > _MANY_BARS else page()
    return Response(body, media_type="application/json")


def _check_letters(price: str) -> None:
    if price not in _LETTERS:
        raise InvalidRequest("price: any of the letters M, B and A are needed, each at most once")


async def _read(
    gateway: Gateway, pair: CurrencyPair, granularity: Granularity, start: datetime | None, end: datetime | None, limit: int
) -> list[BarTexts]:
    """Read the bars of a page; with a start, one more if there is another page."""
    size = limit if start is None else limit + 1
    return await gateway.from_database(gateway.stores.bar_texts.page(pair, granularity, start=start, end=end, limit=size))


def _columns(letters: str, *, named: bool) -> list[Column]:
    """The columns of a file. All but the pair are numbers, so that a data frame of one pair holds numbers only."""
    prices = [Column(f"{side}_{name}", Kind.NUMBER) for side, _ in sides_of(letters) for name in ("open", "high", "low", "close")]
    pair = [Column("pair", Kind.TEXT)] if named else []
    counts = [Column("volume", Kind.INTEGER), Column("complete", Kind.FLAG), Column("simulated", Kind.FLAG)]
    return [Column("time", Kind.TIME), *pair, *prices, *counts]


async def _rows(
    gateway: Gateway,
    pairs: list[CurrencyPair],
    granularity: Granularity,
    stretch: tuple[datetime | None, datetime | None, int | None],
    letters: str,
    *,
    named: bool,
) -> AsyncGenerator[list[Row]]:
    """Yield the rows of a file. The stretch is a start, an end and a limit of the bars of a pair."""
    picked = itemgetter(*(index for _, first in sides_of(letters) for index in range(first, first + 4)))
    invented = gateway.known_sources.invented
    for pair in pairs:
        name = (pair.name,) if named else ()
        async for bars in bars_in_batches(gateway, pair, granularity, *stretch):
            yield [(bar[0], *name, *picked(bar), bar[13], bar[14], bar[15] in invented) for bar in bars]


def _page(pair: CurrencyPair, granularity: Granularity, bars: list[BarTexts], limit: int, forward: bool, letters: str) -> bytes:
    """Encode a ``Bars``. A list that goes ``forward`` has one bar beyond its limit if there is another page."""
    next: str | None = None
    if forward:
        next = bars[limit].time if len(bars) > limit else None
    elif bars:
        next = rfc3339(granularity.end(parse_time(bars[-1].time))) if bars[-1].complete else bars[-1].time
    shown = bars[:limit]
    return b'{"instrument":"%s","granularity":"%s","count":%d,"candles":[%s],"next":%s}' % (
        pair.name.encode(),
        granularity.encode(),
        len(shown),
        rows_of(pair, granularity, shown, letters),
        orjson.dumps(next),
    )
