"""Bars from OANDA's v20 API, page by page.

Source: the endpoint for candles and its definitions in OANDA's v20 documentation, developer.oanda.com.
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
from app.providers.oanda.values import moment, read_price, read_time

_MOST_IN_A_PAGE = 5000

_SHORTEST = {
    Granularity.M1: timedelta(minutes=1),
    Granularity.M5: timedelta(minutes=5),
    Granularity.M15: timedelta(minutes=15),
    Granularity.H1: timedelta(hours=1),
    # On days when New York sets its clocks forward
    Granularity.H4: timedelta(hours=3),
    Granularity.D: timedelta(hours=23),
    Granularity.W: timedelta(days=6, hours=23),
    Granularity.M: timedelta(days=27, hours=23),
}

_ALIGNMENT = {"dailyAlignment": "17", "alignmentTimezone": "America/New_York", "weeklyAlignment": "Friday"}


async def candle_pages(
    api: OandaApi, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime
) -> AsyncGenerator[Sequence[Candle]]:
    """Yield the bars that start in ``[start, end)``, aware times, up to 5000 at a time; none starts in the future.

    Call it with an entered API. Raises SourceError, NotOffered, SourceRefused.
    """
    # A page is requested by its first time and a count, never by a last time: OANDA refuses one in the future, and between
    # two times there could be more bars than fit a page.
    newest: datetime | None = None
    until = min(end, utc_now())
    while (since := newest or start) < until:
        parameters = {
            "price": "MBA",
            "granularity": granularity.value,
            "from": rfc3339(since),
            "count": str(min(math.ceil((until - since) / _SHORTEST[granularity]) + 1, _MOST_IN_A_PAGE)),
            # The bar of the first time is the last one of the previous page.
            "includeFirst": "true" if newest is None else "false",
            **_ALIGNMENT,
        }
        answer = await api.get(f"/v3/instruments/{pair.name}/candles", parameters)
        # In a thread: a full page takes long enough to delay the quotes that arrive meanwhile.
        candles = await asyncio.to_thread(_read_page, answer, pair, granularity, newest)
        if not candles:
            return
        newest = candles[-1].time
        if page := [candle for candle in candles if start <= candle.time < end]:
            yield page
        # Fewer bars than requested do not mean the end; only an empty page does.
        if granularity.end(newest) >= until:
            return


def _read_page(
    answer: Mapping[str, object], pair: CurrencyPair, granularity: Granularity, after: datetime | None
) -> list[Candle]:
    """Return the bars of an answer, all later than ``after``. Raises SourceError."""
    try:
        candles = [_read_candle(row, pair, granularity) for row in read_objects(answer.get("candles"))]
    except ValueError as error:
        raise SourceError(f"OANDA answers with {granularity} bars of {pair} that cannot be read: {error}") from error
    for candle in candles:
        if after is not None and candle.time <= after:
            raise SourceError(f"OANDA answers with {granularity} bars of {pair} that are not in order of time")
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
