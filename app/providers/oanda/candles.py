"""Bars of OANDA's v20 API, page by page.

Source: the endpoint of candles and its definitions in OANDA's v20 documentation, developer.oanda.com.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta

from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.clock import rfc3339, utc_now
from app.market.pair import CurrencyPair
from app.providers.exact_json import read_objects
from app.providers.oanda import TRAITS
from app.providers.oanda.api import OandaApi
from app.providers.oanda.json import moment, read_price, read_time

_MOST_IN_A_PAGE = 5000

_SHORTEST = {
    Granularity.M1: timedelta(minutes=1),
    Granularity.M5: timedelta(minutes=5),
    Granularity.M15: timedelta(minutes=15),
    Granularity.H1: timedelta(hours=1),
    # On the days on which the clocks of New York go forward
    Granularity.H4: timedelta(hours=3),
    Granularity.D: timedelta(hours=23),
    Granularity.W: timedelta(days=6, hours=23),
    Granularity.M: timedelta(days=27, hours=23),
}

_ALIGNMENT = {"dailyAlignment": "17", "alignmentTimezone": "America/New_York", "weeklyAlignment": "Friday"}


async def candle_pages(
    api: OandaApi, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime
) -> AsyncGenerator[Sequence[Candle]]:
    """The bars that start in ``[start, end)``, the times aware, up to 5000 at a time, none of them in the future.

    The API is open. Raises SourceError, NotOffered, SourceRefused.
    """
    # Pages are asked for by a first time and a number, never by a last time: that must not be in the future, and by two
    # times there could be more bars than a page may have.
    newest: datetime | None = None
    until = min(end, utc_now())
    while (since := newest or start) < until:
        parameters = {
            "price": "MBA",
            "granularity": granularity.value,
            "from": rfc3339(since),
            "count": str(min(math.ceil((until - since) / _SHORTEST[granularity]) + 1, _MOST_IN_A_PAGE)),
            # The bar that holds the first time is the one that the page before ended with.
            "includeFirst": "true" if newest is None else "false",
            **_ALIGNMENT,
        }
        answer = await api.get(f"/v3/instruments/{pair.name}/candles", parameters)
        # In a thread, since a full page takes long enough to hold up the quotes that come meanwhile.
        candles = await asyncio.to_thread(_read_page, answer, pair, granularity, newest)
        if not candles:
            return
        newest = candles[-1].time
        if page := [candle for candle in candles if start <= candle.time < end]:
            yield page
        # Fewer bars than asked for are no sign that there are no more: an empty page is.
        if granularity.end(newest) >= until:
            return


def _read_page(
    answer: Mapping[str, object], pair: CurrencyPair, granularity: Granularity, after: datetime | None
) -> list[Candle]:
    """The bars of an answer, all of them later than ``after``. Raises SourceError."""
    try:
        candles = [_read_candle(row, pair, granularity) for row in read_objects(answer.get("candles"))]
    except ValueError as error:
        raise SourceError(f"OANDA answers with {granularity} bars of {pair} that cannot be read: {error}") from error
    for candle in candles:
        if after is not None and candle.time <= after:
            raise SourceError(f"OANDA answers with {granularity} bars of {pair} that are not in the order of time")
        after = candle.time
    return candles


def _read_candle(row: Mapping[str, object], pair: CurrencyPair, granularity: Granularity) -> Candle:
    volume, complete = row.get("volume"), row.get("complete")
    if type(volume) is not int or volume < 0 or not isinstance(complete, bool):
        raise ValueError("no volume, or not known whether complete")
    bid, mid, ask = (_read_ohlc(row.get(side)) for side in ("bid", "mid", "ask"))
    return Candle(pair, granularity, moment(read_time(row.get("time"))), bid, mid, ask, volume, complete, source=TRAITS.name)


def _read_ohlc(value: object) -> Ohlc:
    if not isinstance(value, dict):
        raise ValueError("no bid, mid or ask")
    return Ohlc(*(read_price(value.get(field)) for field in "ohlc"))
