"""``/api/v1/candles``: the bars of a pair."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import permutations
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Query
from pydantic import Field, WithJsonSchema
from starlette.responses import Response

from app.errors import InvalidRequest, NoData
from app.http.bars import page_of_bars
from app.http.gateway import CurrentGateway
from app.http.parameters import EndTime, Instrument, StartTime, stretch
from app.http.problems import responses
from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.clock import rfc3339
from app.market.hours.calendar import NEW_YORK
from app.market.pair import CurrencyPair
from app.realtime.contract.messages import Message, PairName, PriceText, TimeText

router = APIRouter(prefix="/api/v1/candles", tags=["candles"])

_MOST_BARS = 5000
_MANY_BARS = 500  # encoding them takes longer than handing them to a thread
_WITH_A_TRADING_DAY = frozenset({Granularity.D, Granularity.W, Granularity.M})

_PRICES: dict[str, tuple[str, Callable[[Candle], Ohlc]]] = {
    "B": ("bid", lambda bar: bar.bid),
    "M": ("mid", lambda bar: bar.mid),
    "A": ("ask", lambda bar: bar.ask),
}


_LETTERS = ["".join(chosen) for length in (1, 2, 3) for chosen in permutations(_PRICES, length)]
_Letters = Annotated[str, WithJsonSchema({"type": "string", "enum": _LETTERS})]


class BarPrices(Message):
    """The first, highest, lowest and last of the prices of a bar."""

    o: PriceText
    h: PriceText
    l: PriceText  # noqa: E741 - the contract's name
    c: PriceText


class Bar(Message):
    """A bar, from its start, included, to the start of the next."""

    time: TimeText = Field(description="Where it starts: RFC 3339, UTC")
    granularity: Granularity
    complete: bool = Field(description="False while prices of it may still come")
    bid: BarPrices | None = Field(None, description="Left out where `price` has no B")
    mid: BarPrices | None = Field(None, description="Left out where `price` has no M")
    ask: BarPrices | None = Field(None, description="Left out where `price` has no A")
    volume: int = Field(description="How many prices it was made of; 0 where its source does not say", examples=[1432])
    source: str = Field(description="Where its prices come from; `simulated` ones are invented", examples=["oanda"])
    trading_day: date | None = Field(
        None, description="The date on which it ends in New York; left out for bars that are shorter than a day"
    )


class Bars(Message):
    """Bars of a pair, the oldest first."""

    instrument: PairName
    granularity: Granularity
    count: int = Field(description="How many bars these are", examples=[24])
    candles: list[Bar] = Field(description="The oldest first")
    next: TimeText | None = Field(
        description="Give this as `start_time` to go on: to the next page or, where no `start_time` was given, to the bars "
        "after these, beginning with the last one if it is not complete. Null where all bars of the time asked for are here"
    )


@router.get(
    "/{instrument}",
    operation_id="get_candles",
    summary="Bars of a pair",
    response_model=Bars,
    responses=responses(400, 404, 429, 503),
)
async def get_candles(
    gateway: CurrentGateway,
    instrument: Instrument,
    granularity: Annotated[
        Granularity, Query(description="How long a bar lasts; H4, D, W and M follow the trading day of New York")
    ] = Granularity.H1,
    limit: Annotated[int, Query(ge=1, le=_MOST_BARS, description="At most so many bars")] = 24,
    start_time: StartTime = None,
    end_time: EndTime = None,
    price: Annotated[
        _Letters, Query(description="Which prices: letters of M (mid), B (bid) and A (ask)", examples=["M"])
    ] = "MBA",
) -> Response:
    """Bars that start in the time asked for, also one that is not complete yet.

    With `start_time` the first ones from there on, without it the last ones before `end_time`, or of all. Where nobody
    quoted there is no bar.
    """
    pair = gateway.hub.pairs.find(instrument)
    if price not in _LETTERS:
        raise InvalidRequest("price: some of the letters M, B and A are needed, each once")
    start, end = stretch(start_time, end_time)
    size = limit if start is None else limit + 1
    bars = await page_of_bars(gateway, pair, granularity, start, end, size)
    if not bars:
        raise NoData(f"No {granularity} bars of {pair} are stored" + (" of this time" if start or end else ""))
    if start is not None:
        next = bars[limit].time if len(bars) > limit else None
    else:
        next = bars[-1].end if bars[-1].complete else bars[-1].time
    head = {"instrument": pair.name, "granularity": granularity}
    tail = {"next": None if next is None else rfc3339(next)}
    shown = bars[:limit]
    body = (
        await asyncio.to_thread(_encoded, head, pair, shown, price, tail)
        if len(shown) > _MANY_BARS
        else _encoded(head, pair, shown, price, tail)
    )
    return Response(body, media_type="application/json")


def _encoded(head: dict[str, Any], pair: CurrencyPair, bars: Sequence[Candle], letters: str, tail: dict[str, Any]) -> bytes:
    """``Bars`` as JSON."""
    prices = [_PRICES[letter] for letter in _PRICES if letter in letters]
    unit = Decimal(1).scaleb(-pair.precision)
    rows = [_row(bar, prices, unit) for bar in bars]
    return orjson.dumps({**head, "count": len(rows), "candles": rows, **tail})


def _row(bar: Candle, prices: Sequence[tuple[str, Callable[[Candle], Ohlc]]], unit: Decimal) -> dict[str, Any]:
    row: dict[str, Any] = {"time": rfc3339(bar.time), "granularity": bar.granularity, "complete": bar.complete}
    for name, of in prices:
        ohlc = of(bar)
        # What CurrencyPair.round does, without finding out the pair's precision for each of sixty thousand prices.
        row[name] = {
            "o": str(ohlc.open.quantize(unit, ROUND_HALF_EVEN)),
            "h": str(ohlc.high.quantize(unit, ROUND_HALF_EVEN)),
            "l": str(ohlc.low.quantize(unit, ROUND_HALF_EVEN)),
            "c": str(ohlc.close.quantize(unit, ROUND_HALF_EVEN)),
        }
    row["volume"], row["source"] = bar.volume, bar.source
    if bar.granularity in _WITH_A_TRADING_DAY:
        row["trading_day"] = bar.end.astimezone(NEW_YORK).date()
    return row
