"""Bars of trades from Kraken's REST API, which needs no key.

Source: the endpoint OHLC in Kraken's documentation, docs.kraken.com. It returns the last 720 bars and no older ones, the last of
them unfinished, one for every interval, even without trades. Public endpoints may be asked about once a second.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from types import MappingProxyType

import httpx

from app.errors import NotOffered, SourceError
from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.providers.exact_json import read_object, read_price
from app.providers.http import Interrupted, ask_persistently, interruptions, open_client, presentable, read_body
from app.providers.kraken import TRAITS
from app.providers.pace import Spacing

_MINUTES = MappingProxyType({Granularity.M1: 1, Granularity.M5: 5, Granularity.M15: 15, Granularity.H1: 60})

GRANULARITIES = frozenset(_MINUTES)
"""The lengths whose bars start where ours do: Kraken's H4 and D start at midnight UTC."""

_BETWEEN_REQUESTS = 1.0
_ANSWERS_WITHIN = 10.0
_ENDS_WITHIN = 30.0
_LARGEST_ANSWER = 1_000_000
_LATEST = 2**37
"""In seconds: later than any bar, and early enough to be a date."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAY_PASS = ("EService:", "EGeneral:Internal error", "EGeneral:Temporary lockout", "EGeneral:Too many", "EAPI:Rate limit")
"""The beginnings of Kraken's messages for failures that may pass."""

_NOT_LISTED = "EQuery:Unknown asset pair"


class KrakenHistory:
    """Bars of the recent past. ``url`` is the host of the API."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/0/public/OHLC"
        self._requests = Spacing(_BETWEEN_REQUESTS)

    async def fetch(self, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime) -> list[Candle]:
        """Return the bars that start in ``[start, end)``, by time. Raises SourceError, and NotOffered for what Kraken lacks."""
        if granularity not in _MINUTES:
            raise NotOffered(f"Kraken has no {granularity} bars that start where ours do")
        if start >= min(end, utc_now()):
            return []
        parameters = {
            "pair": pair.base + pair.quote,
            "interval": str(_MINUTES[granularity]),
            # Exclusive at Kraken, while a bar at the very start is wanted.
            "since": str((start - _EPOCH) // timedelta(seconds=1) - 1),
        }
        result = await ask_persistently("Kraken", partial(self._ask, parameters, pair))
        try:
            candles = _read_bars(result, pair, granularity)
        except ValueError as error:
            raise SourceError(f"Kraken answers with {granularity} bars of {pair} that cannot be read: {error}") from error
        return [candle for candle in candles if start <= candle.time < end]

    async def _ask(self, parameters: Mapping[str, str], pair: CurrencyPair) -> Mapping[str, object]:
        """Return the result of one request. Raises Interrupted, NotOffered or SourceError."""
        await self._requests.turn()
        with interruptions(presentable):
            async with (
                asyncio.timeout(_ENDS_WITHIN),
                open_client(_ANSWERS_WITHIN) as client,
                client.stream("GET", self._url, params=parameters) as response,
            ):
                body = await read_body(response, _LARGEST_ANSWER)
        if len(body) > _LARGEST_ANSWER:
            raise SourceError(f"Kraken answers with more than {_LARGEST_ANSWER} bytes")
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
            raise Interrupted(f"status {response.status_code}")
        try:
            return _result(read_object(body), pair)
        except ValueError:
            raise Interrupted(f"status {response.status_code}, with an answer that is not from Kraken's API") from None


def _result(answer: Mapping[str, object], pair: CurrencyPair) -> Mapping[str, object]:
    """Return the result in an answer. Raises Interrupted, NotOffered or SourceError for the errors in it."""
    errors, result = answer.get("error"), answer.get("result")
    if isinstance(errors, list) and errors:
        said = presentable(", ".join(str(error) for error in errors))
        if all(str(error).startswith(_MAY_PASS) for error in errors):
            raise Interrupted(said)
        not_listed = all(str(error).startswith(_NOT_LISTED) for error in errors)
        raise (NotOffered if not_listed else SourceError)(f"Kraken has no bars of {pair}: {said}")
    if not isinstance(result, dict):
        raise Interrupted("an answer without a result")
    return result


def _read_bars(result: Mapping[str, object], pair: CurrencyPair, granularity: Granularity) -> list[Candle]:
    """Return the bars in a result, which lists them under Kraken's own name of the pair, like ``ZEURZUSD``. Raises ValueError."""
    names = [name for name in result if name != "last"]
    rows = result[names[0]] if len(names) == 1 else None
    if not isinstance(rows, list):
        raise ValueError("no list of bars")
    candles: list[Candle] = []
    for number, row in enumerate(rows, 1):
        candle = _read_bar(row, pair, granularity, complete=number < len(rows))
        if candles and candle.time <= candles[-1].time:
            raise ValueError("they are not in order of time")
        candles.append(candle)
    # Without trades, a bar only repeats the previous price.
    return [candle for candle in candles if candle.volume]


def _read_bar(row: object, pair: CurrencyPair, granularity: Granularity, complete: bool) -> Candle:
    if not isinstance(row, list) or len(row) < 8:
        raise ValueError("no bar")
    seconds, trades = row[0], row[7]
    if type(seconds) is not int or not 0 <= seconds < _LATEST or type(trades) is not int or trades < 0:
        raise ValueError("no time, or no number of trades")
    start = _EPOCH + timedelta(seconds=seconds)
    ohlc = Ohlc(*(read_price(value) for value in row[1:5]))
    if granularity.start(start) != start or not ohlc.low <= min(ohlc.open, ohlc.close) <= max(ohlc.open, ohlc.close) <= ohlc.high:
        raise ValueError("a bar that starts at a wrong time, or a price outside its low and high")
    return Candle(pair, granularity, start, ohlc, ohlc, ohlc, trades, complete, source=TRAITS.name)
