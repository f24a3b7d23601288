"""``/api/v1/candles``: bars of a pair."""

import asyncio
from datetime import date
from functools import partial
from itertools import permutations
from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from app.errors import InvalidRequest, NoData
from app.http.bar_json import rows_of
from app.http.gateway import CurrentGateway
from app.http.parameters import EndTime, Instrument, StartTime, interval
from app.http.refusals import NO_DATABASE, RATE_LIMITED, UNKNOWN_PAIR, WRONG_LIMIT, refusals
from app.market.bars.candle import Granularity
from app.market.clock import parse_time, rfc3339
from app.market.pair import CurrencyPair
from app.realtime.contract.fields import Message, PairName, PriceText, TimeText
from app.storage.market.bar_texts import BarTexts

router = APIRouter(prefix="/api/v1/candles", tags=["candles"])

_MOST_BARS = 5000
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


@router.get(
    "/{instrument}",
    operation_id="get_candles",
    summary="Bars of a pair",
    response_model=Bars,
    responses=refusals(UNKNOWN_PAIR, WRONG_LIMIT, NoData("No H1 bars of EUR_USD are stored"), RATE_LIMITED, NO_DATABASE),
)
async def get_candles(
    gateway: CurrentGateway,
    instrument: Instrument,
    granularity: Annotated[
        Granularity, Query(description="The length of a bar; H4, D, W and M follow the trading day of New York")
    ] = Granularity.H1,
    limit: Annotated[int, Query(ge=1, le=_MOST_BARS, description="Maximum number of bars")] = 24,
    start_time: StartTime = None,
    end_time: EndTime = None,
    price: Annotated[_Letters, Query(description="Which prices: any of the letters M (mid), B (bid) and A (ask)")] = "MBA",
) -> Response:
    """Return bars that start within the interval, including one that is not complete yet.

    With `start_time` they are the first bars from there, without it the last bars before `end_time`, or before now. A time
    without prices has no bar, and an interval without bars is answered with an empty list.
    """
    pair = gateway.hub.pairs.find(instrument)
    if price not in _LETTERS:
        raise InvalidRequest("price: any of the letters M, B and A are needed, each at most once")
    start, end = interval(start_time, end_time)
    bars = await gateway.from_database(
        gateway.stores.bar_texts.page(pair, granularity, start=start, end=end, limit=limit if start is None else limit + 1)
    )
    if not bars and start is None and end is None:
        raise NoData(f"No {granularity} bars of {pair} are stored")
    page = partial(_page, pair, granularity, bars, limit, start is not None, price)
    body = await asyncio.to_thread(page) if len(bars) > _MANY_BARS else page()
    return Response(body, media_type="application/json")


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
