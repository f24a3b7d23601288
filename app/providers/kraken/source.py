"""Kraken as a source of prices and bars, without a key.

Kraken is an exchange that trades currencies beside crypto-assets. It has an order book of its own: spreads are wider than
between banks, prices may differ from theirs, and it is open around the clock, weekends included.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from app.backoff import Backoff
from app.errors import InvalidPair, SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.market.quote import Quote, QuoteKind
from app.providers.http import Interrupted, presentable
from app.providers.kraken import TRAITS
from app.providers.kraken.candles import GRANULARITIES, KrakenHistory
from app.providers.kraken.messages import ExchangeStatus, Listings, Message, Subscribed, Ticker, Tickers
from app.providers.kraken.order import QuoteOrder, Verdict
from app.providers.kraken.stream import KrakenStream, open_stream
from app.providers.passed_over import PassedOver
from app.providers.synthetic import Cross, CrossRates, find_cross

_LISTS_WITHIN = 10.0
_MOST_IN_A_REQUEST = 10

_SILENT_AFTER = 0.9
"""The part of the time allowed for silence after which silence is reported; several of Kraken's heartbeats fall in it."""

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Session:
    """The state of one connection: the pairs subscribed to, by symbol, and what Kraken says of them."""

    subscribed: Mapping[str, CurrencyPair]
    crosses: tuple[Cross, ...]
    dealt: dict[str, bool]
    refused: set[str] = field(default_factory=set)
    exchange_deals: bool = True

    def quote(self, ticker: Ticker, now: datetime) -> Quote | None:
        """Return the quote of a ticker; None if it is for no pair of ours."""
        pair = self.subscribed.get(ticker.symbol)
        if pair is None:
            return None
        dealt = self.exchange_deals and self.dealt.get(ticker.symbol, False)
        kind = QuoteKind.QUOTED if dealt else QuoteKind.INDICATIVE
        return Quote(pair, ticker.bid, ticker.ask, ticker.time or now, TRAITS.name, kind)


class KrakenSource:
    """Prices and bars of Kraken.

    Pairs that Kraken does not list are computed from two that it does, through the dollar or the euro: their quotes are of the
    kind ``synthetic``. The log lists the pairs that are not served in either way.

    ``passed_over`` counts messages that gave no new price by reason: ``malformed``, ``unknown channel``, ``other instrument``,
    ``repeated``, ``crossed``, ``out of order``, ``from the future``.
    """

    traits = TRAITS
    name = TRAITS.name
    simulated = TRAITS.simulated
    granularities = GRANULARITIES

    def __init__(
        self,
        pairs: Iterable[CurrencyPair],
        *,
        url: str = "wss://ws.kraken.com/v2",
        rest_url: str = "https://api.kraken.com",
        silence: float = 5.0,
    ) -> None:
        """After ``silence`` seconds without any message the source reconnects. Raises SourceError for anything but a URL."""
        if not _is_url(url, "ws") or not _is_url(rest_url, "http"):
            raise SourceError("The address of Kraken is not a URL of the form wss://HOST/PATH or https://HOST without a password")
        self._pairs = tuple(pairs)
        self._url = url
        self._silence = silence
        self._heard_at: float | None = None
        self._history = KrakenHistory(rest_url)
        self._served: frozenset[CurrencyPair] | None = None
        self.passed_over = PassedOver("Kraken")

    @property
    def silent(self) -> bool:
        """True when no message has come for nearly as long as it takes to reconnect."""
        return self._heard_at is not None and time.monotonic() - self._heard_at > _SILENT_AFTER * self._silence

    async def quotes(self) -> AsyncGenerator[Quote]:
        """Yield the best bid and ask of every pair and all that follow, without end; the times of a pair never go back.

        Reconnects with backoff when the connection breaks off or falls silent. Raises SourceError when Kraken has none of the
        pairs.
        """
        backoff, clock = Backoff(), asyncio.get_running_loop().time
        order = QuoteOrder(self.passed_over)
        self._heard_at = time.monotonic()
        while True:
            started = clock()
            try:
                async with (
                    open_stream(self._url, self._silence, self.passed_over) as stream,
                    aclosing(self._quotes_of(stream, order)) as quotes,
                ):
                    async for quote in quotes:
                        yield quote
            except Interrupted as interruption:
                pause = backoff.pause_after(clock() - started)
                _logger.warning("no prices from Kraken: %s; next attempt in %.1f s", interruption, pause)
                await asyncio.sleep(pause)

    async def fetch_candles(
        self, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncGenerator[Sequence[Candle]]:
        """Yield the bars that start in ``[start, end)``, out of the last 720; Kraken keeps no older ones.

        They are bars of trades: bid, mid and ask are all the traded prices, and the volume is the number of trades. Without
        trades there is no bar, and the current one is not complete. Bars longer than H1 are not offered, since Kraken's days
        start at midnight UTC. Raises SourceError, and NotOffered for pairs that Kraken does not list, crosses included.
        """
        if page := await self._history.fetch(pair, granularity, start, end):
            yield page

    async def _quotes_of(self, stream: KrakenStream, order: QuoteOrder) -> AsyncGenerator[Quote]:
        """Yield the quotes of one connection. Raises Interrupted, SourceError."""
        session = await self._begin(stream)
        crosses, tracked = CrossRates(session.crosses), set(self._pairs)
        while True:
            message = await stream.receive()
            self._heard_at = time.monotonic()
            if not isinstance(message, Tickers):
                self._update(message, session)
                continue
            now = utc_now()
            for ticker in message.tickers:
                quote = session.quote(ticker, now)
                if quote is None:
                    self.passed_over.note("other instrument")
                    continue
                verdict = order.judge(quote, now)
                if verdict is Verdict.NEW and quote.pair in tracked:
                    yield quote
                # A cross starts from these quotes, even when they repeat what the previous connection gave.
                if verdict in (Verdict.NEW, Verdict.REPEATED):
                    for cross in crosses.take(quote):
                        if order.judge(cross, now) is Verdict.NEW:
                            yield cross

    async def _begin(self, stream: KrakenStream) -> _Session:
        """Ask what Kraken lists, and subscribe to what is needed."""
        await stream.subscribe({"channel": "instrument", "snapshot": True})
        try:
            async with asyncio.timeout(_LISTS_WITHIN):
                listings, exchange_deals = await _listings(stream)
        except TimeoutError:
            raise Interrupted(f"no list of what is traded within {_LISTS_WITHIN:g} s") from None
        listed = {listing.symbol: listing for listing in listings.listings if listing.listed}
        symbols = {pair: symbol for symbol in listed if (pair := _pair(symbol)) is not None}
        crosses = [find_cross(pair, symbols) for pair in self._pairs if pair not in symbols]
        legs = [leg for cross in crosses if cross is not None for leg in cross.legs]
        subscribed = {symbols[pair]: pair for pair in (*self._pairs, *legs) if pair in symbols}
        session = _Session(
            subscribed,
            tuple(cross for cross in crosses if cross is not None),
            {symbol: listed[symbol].dealt for symbol in subscribed},
            exchange_deals=exchange_deals,
        )
        self._log_served(session)
        if not subscribed:
            raise SourceError(f"Kraken has none of the pairs: {', '.join(pair.name for pair in self._pairs)}")
        names = list(subscribed)
        for first in range(0, len(names), _MOST_IN_A_REQUEST):
            some = names[first : first + _MOST_IN_A_REQUEST]
            await stream.subscribe({"channel": "ticker", "symbol": some, "event_trigger": "bbo", "snapshot": True})
        return session

    def _update(self, message: Message, session: _Session) -> None:
        """Update the session by a message without prices. Raises SourceError when Kraken has refused every pair."""
        match message:
            case ExchangeStatus():
                session.exchange_deals = message.dealing
            case Listings():
                changed = (listing for listing in message.listings if listing.symbol in session.subscribed)
                session.dealt.update({listing.symbol: listing.dealt for listing in changed})
            case Subscribed(symbol=str(symbol), error=str(error)) if symbol in session.subscribed:
                _logger.warning("Kraken refuses the prices of %s: %s", symbol, presentable(error))
                session.refused.add(symbol)
                if len(session.refused) == len(session.subscribed):
                    raise SourceError(f"Kraken refuses the prices of every pair: {presentable(error)}")
                self._log_served(session)

    def _log_served(self, session: _Session) -> None:
        """Log the pairs that this session serves, if they have changed."""
        quoted = {pair for symbol, pair in session.subscribed.items() if symbol not in session.refused}
        computed = {cross.pair for cross in session.crosses if quoted.issuperset(cross.legs)}
        served = frozenset(pair for pair in self._pairs if pair in quoted or pair in computed)
        if served == self._served:
            return
        self._served = served
        _logger.info(
            "Kraken serves %d pairs, %d of them computed from two others; not served: %s",
            len(served),
            len(computed),
            ", ".join(pair.name for pair in self._pairs if pair not in served) or "none",
        )


async def _listings(stream: KrakenStream) -> tuple[Listings, bool]:
    """Return everything that is traded, and whether the exchange is trading at all. Raises Interrupted."""
    exchange_deals = True
    while True:
        match await stream.receive():
            case Listings(snapshot=True) as listings:
                return listings, exchange_deals
            case ExchangeStatus(dealing=exchange_deals):
                pass
            case Subscribed(symbol=None, error=str(error)):
                raise Interrupted(f"the list of what is traded is refused: {presentable(error)}")


def _pair(symbol: str) -> CurrencyPair | None:
    """Return the pair of a symbol like ``EUR/USD``; None for a crypto-asset, whose name has another length."""
    try:
        pair = CurrencyPair.parse(symbol)
    except InvalidPair:
        return None
    return pair if symbol == f"{pair.base}/{pair.quote}" else None


def _is_url(url: str, scheme: str) -> bool:
    """Return True for a URL of the scheme, or of its encrypted form, that names a host and no user."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {scheme, scheme + "s"} and bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        return False
