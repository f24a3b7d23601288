"""OANDA as a source of prices and bars, through its v20 API with the token of a practice or a live account."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Literal, Self
from urllib.parse import quote

from app.backoff import Backoff
from app.errors import SourceError
from app.market.bars.candle import Candle, Granularity
from app.market.clock import utc_now
from app.market.pair import CurrencyPair
from app.market.quote import Quote
from app.providers.exact_json import read_objects
from app.providers.http import Interrupted
from app.providers.oanda import TRAITS
from app.providers.oanda.api import OandaApi
from app.providers.oanda.candles import candle_pages
from app.providers.oanda.prices import OandaPrice, PriceOrder, read_client_price
from app.providers.oanda.stream import MessageType, stream_messages
from app.providers.passed_over import MALFORMED, PassedOver

_REST_URLS = MappingProxyType({"practice": "https://api-fxpractice.oanda.com", "live": "https://api-fxtrade.oanda.com"})
_STREAM_URLS = MappingProxyType({"practice": "https://stream-fxpractice.oanda.com", "live": "https://stream-fxtrade.oanda.com"})

_SILENT_AFTER = 0.9
"""The part of the time allowed for silence after which silence is reported; two of OANDA's heartbeats fall in it."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Offer:
    """An account, and those of our pairs that it offers, by name."""

    account: str
    pairs: Mapping[str, CurrencyPair]


class OandaSource:
    """Prices and bars of OANDA.

    Pairs that the account does not offer are left out, with a warning in the log; the others are served.

    ``passed_over`` counts messages of the stream that gave no new price by reason: ``malformed``, ``unknown type``, ``other
    instrument``, ``repeated``, ``out of order``, ``from the future``.

    Each call opens connections of its own and closes them. Inside ``async with`` the calls for bars share theirs, which saves
    OANDA and the caller from opening new ones: it allows two a second for everything at one IP address.
    """

    traits = TRAITS
    name = TRAITS.name
    simulated = TRAITS.simulated
    granularities = frozenset(Granularity)

    def __init__(
        self,
        pairs: Iterable[CurrencyPair],
        token: str,
        *,
        environment: Literal["practice", "live"] = "practice",
        account: str | None = None,
        rest_url: str | None = None,
        stream_url: str | None = None,
        silence: float = 10.0,
        on_hole: Callable[[datetime, datetime], None] | None = None,
    ) -> None:
        """``account`` may be omitted when the token has only one. After ``silence`` seconds without a sign of life the source
        reconnects to the stream. The URLs replace those of the environment.

        ``on_hole`` is called after each hole in the stream, with the times, by our clock, of the last sign of life before it and
        the first after it, so that bars can be fetched for it. It must not block.

        Raises SourceError for a token that cannot be one.
        """
        self._pairs = tuple(pairs)
        self._account = account
        self._silence = silence
        self._on_hole = on_hole
        self._api = OandaApi(token, rest_url or _REST_URLS[environment], stream_url or _STREAM_URLS[environment])
        self._last_heard: datetime | None = None
        self._heard_at: float | None = None
        self._in_hole = False
        self.passed_over = PassedOver("OANDA")

    async def __aenter__(self) -> Self:
        await self._api.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._api.__aexit__(kind, error, trace)

    @property
    def silent(self) -> bool:
        """True when neither a price nor a heartbeat has come for nearly as long as it takes to reconnect."""
        return self._heard_at is not None and time.monotonic() - self._heard_at > _SILENT_AFTER * self._silence

    async def quotes(self) -> AsyncGenerator[Quote]:
        """Yield the last quote of every pair and all that follow, each newer than earlier ones of its pair, without end.

        Reconnects with backoff when the stream breaks off or falls silent. Raises SourceRefused when OANDA does not know the
        token or the account, and SourceError when it offers none of the pairs.
        """
        backoff, clock = Backoff(), asyncio.get_running_loop().time
        order = PriceOrder(self.passed_over)
        offer = None
        self._heard_at = time.monotonic()
        while True:
            started = clock()
            self._in_hole = self._last_heard is not None
            try:
                if offer is None:
                    async with self._api:
                        offer = await self._ask_for_offer()
                async with aclosing(self._prices(offer)) as prices:
                    async for price in prices:
                        if order.admits(price, utc_now()):
                            yield price.quote
            except Interrupted as interruption:
                pause = max(backoff.pause_after(clock() - started), interruption.wait)
                _logger.warning("no prices from OANDA: %s; next attempt in %.1f s", interruption, pause)
                await asyncio.sleep(pause)

    async def fetch_candles(
        self, pair: CurrencyPair, granularity: Granularity, start: datetime, end: datetime
    ) -> AsyncGenerator[Sequence[Candle]]:
        """Yield the bars that start in ``[start, end)``, as OANDA has them, up to 5000 at a time, in order of time.

        There is no bar without quotes, and none in the future; the current one is not complete. Raises SourceError after a few
        failed attempts, and NotOffered for a pair that OANDA does not have.
        """
        async with self._api, aclosing(candle_pages(self._api, pair, granularity, start, end)) as pages:
            async for page in pages:
                yield page

    async def _prices(self, offer: _Offer) -> AsyncGenerator[OandaPrice]:
        """Yield the prices of one connection, in the order they come. Raises as ``stream_messages`` does."""
        messages = stream_messages(self._api, offer.account, offer.pairs, self._silence, self.passed_over)
        heard = False
        async with aclosing(messages):
            async for message in messages:
                if not heard:
                    heard = True
                    _logger.info("OANDA streams prices of %d pairs", len(offer.pairs))
                self._hear()
                if message.type is not MessageType.PRICE:
                    continue
                try:
                    price = self._read_price(message.body, offer)
                except ValueError:
                    self.passed_over.note(MALFORMED)
                    continue
                if price is not None:
                    yield price

    def _hear(self) -> None:
        """Note a sign of life, and report the hole that it ends."""
        now, since = utc_now(), self._last_heard
        self._last_heard, self._heard_at = now, time.monotonic()
        if self._in_hole and since is not None:
            self._in_hole = False
            _logger.info("the stream of OANDA is back after %.1f s", (now - since).total_seconds())
            if self._on_hole is not None:
                self._on_hole(since, now)

    def _read_price(self, body: Mapping[str, object], offer: _Offer) -> OandaPrice | None:
        """Return the price in a message; None if it is for no pair of ours. Raises ValueError."""
        pair = offer.pairs.get(str(body.get("instrument")))
        if pair is None:
            self.passed_over.note("other instrument")
            return None
        return read_client_price(body, pair)

    async def _ask_for_offer(self) -> _Offer:
        """Ask for the account and for those of the pairs it offers. Raises SourceError, SourceRefused, Interrupted."""
        try:
            account = self._account or _only_account(await self._api.get_once("/v3/accounts"))
            answer = await self._api.get_once(f"/v3/accounts/{quote(account, safe='')}/instruments")
            decimals = {row.get("name"): row.get("displayPrecision") for row in read_objects(answer.get("instruments"))}
        except ValueError as error:
            raise SourceError(f"OANDA answers with an account that cannot be read: {error}") from error
        offer = _Offer(account, {pair.name: pair for pair in self._pairs if pair.name in decimals})
        left_out = ", ".join(pair.name for pair in self._pairs if pair.name not in offer.pairs)
        if not offer.pairs:
            raise SourceError(f"OANDA offers none of the pairs to this account: {left_out}")
        if left_out:
            _logger.warning("OANDA does not offer these pairs to this account: %s", left_out)
        for name, pair in offer.pairs.items():
            if decimals[name] != pair.precision:
                _logger.info("OANDA quotes %s with %s decimals instead of %d", name, decimals[name], pair.precision)
        return offer


def _only_account(answer: Mapping[str, object]) -> str:
    """Return the account of a token that has exactly one. Raises SourceError if it has none or several, and ValueError."""
    accounts = [str(row.get("id")) for row in read_objects(answer.get("accounts"))]
    if len(accounts) != 1:
        raise SourceError(
            f"The OANDA token has several accounts, so one must be named: {', '.join(accounts)}"
            if accounts
            else "The OANDA token has no account"
        )
    return accounts[0]
