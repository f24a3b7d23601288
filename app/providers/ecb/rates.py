"""The euro reference rates of the European Central Bank, asked from Frankfurter or read from the table at hand.

Frankfurter is an open service that answers with these rates and needs no key. Source: its version 1, frankfurter.dev, which
averages the days of a week where more than a year is asked for.

The bank fixes the rates about 14:15 in Frankfurt and publishes them about 16:00, for information only.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from operator import attrgetter
from zoneinfo import ZoneInfo

import httpx

from app.market.pair import CurrencyPair
from app.providers.exact_json import read_object, read_price
from app.providers.reference_rates import ReferenceRates, listed, reference_rates, unlisted

FIRST_FIXING = date(1999, 1, 4)

MOST_DAYS = timedelta(days=350)
"""For how many days rates can be asked at once and, with the week before them, still come day by day."""

_FIXED_AT = time(14, 15, tzinfo=ZoneInfo("Europe/Berlin"))
_WEEK = timedelta(days=7)
_ANSWERS_WITHIN = 10.0
_ENDS_WITHIN = 30.0
_LARGEST_ANSWER = 2_000_000
_LONGEST_REASON = 200


class Unavailable(Exception):
    """Frankfurter does not answer, or not with rates."""


@dataclass(frozen=True, slots=True)
class Fixing:
    """The rates of a day: units of each currency for one euro."""

    date: date
    rates: Mapping[str, Decimal]

    @property
    def time(self) -> datetime:
        """When they were fixed, in UTC."""
        return datetime.combine(self.date, _FIXED_AT).astimezone(UTC)

    def price(self, pair: CurrencyPair) -> Decimal | None:
        """What one of the base currency costs, at the precision of the pair; None where a rate is missing.

        Offshore renminbi, which the bank has no rate of, is taken as onshore.
        """
        base, quote = (Decimal(1) if code == "EUR" else self.rates.get(code) for code in codes_of(pair))
        return None if base is None or quote is None else pair.round(quote / base)


def codes_of(pair: CurrencyPair) -> tuple[str, str]:
    """The currencies whose rates make the price of a pair."""
    return listed(pair.base), listed(pair.quote)


class Frankfurter:
    """The service at a URL like ``https://api.frankfurter.dev/v1``."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    async def latest(self, codes: Sequence[str]) -> Fixing:
        """The newest rates, of those of the currencies that there are. Raises Unavailable."""
        answer = await self._ask("latest", codes)
        try:
            return _read_fixing(answer.get("date"), answer.get("rates"))
        except ValueError as error:
            raise Unavailable(f"its answer cannot be read: {error}") from error

    async def between(self, codes: Sequence[str], first: date, last: date) -> list[Fixing]:
        """The rates of the days from the first to the last, both included and no more than ``MOST_DAYS`` apart, by time.

        Raises Unavailable.
        """
        # With the week before, since nothing is found where there was no fixing at all.
        answer = await self._ask(f"{first - _WEEK}..{last}", codes)
        rates = answer.get("rates")
        if not isinstance(rates, dict):
            raise Unavailable("its answer has no rates")
        try:
            fixings = [_read_fixing(day, of_day) for day, of_day in rates.items()]
        except ValueError as error:
            raise Unavailable(f"its answer cannot be read: {error}") from error
        return sorted((fixing for fixing in fixings if first <= fixing.date <= last), key=attrgetter("date"))

    async def _ask(self, what: str, codes: Sequence[str]) -> dict[str, object]:
        parameters = {"base": "EUR", "symbols": ",".join(code for code in codes if code != "EUR")}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(_ENDS_WITHIN),
                httpx.AsyncClient(timeout=_ANSWERS_WITHIN, headers={"User-Agent": "fx-gateway"}, follow_redirects=True) as client,
                client.stream("GET", f"{self._url}/{what}", params=parameters) as response,
            ):
                if response.status_code != httpx.codes.OK:
                    raise Unavailable(f"status {response.status_code}")
                async for piece in response.aiter_bytes():
                    body += piece
                    if len(body) > _LARGEST_ANSWER:
                        raise Unavailable(f"its answer is longer than {_LARGEST_ANSWER} bytes")
        except TimeoutError:
            raise Unavailable(f"no answer within {_ENDS_WITHIN:g} s") from None
        except httpx.HTTPError as error:
            raise Unavailable(" ".join(str(error).split())[:_LONGEST_REASON] or type(error).__name__) from error
        except (ValueError, ImportError, OSError, httpx.InvalidURL):
            # Without the cause, which may hold the password of a proxy.
            raise Unavailable("its address, the proxies or the certificates cannot be used") from None
        try:
            return read_object(bytes(body))
        except ValueError as error:
            raise Unavailable(f"its answer cannot be read: {error}") from error


def table_at_hand(codes: Sequence[str], since: date | None = None) -> list[Fixing]:
    """The rates that came with the program, by time: those since a day, or those of the newest day only.

    They are of the days on which there was one of every currency; for the newest day, currencies without are left out.
    """
    if since is None:
        missing = unlisted(codes)
        known = [code for code in codes if code not in missing]
        return _fixings(reference_rates(known, days=1)) if known else []
    days = max((datetime.now(UTC).date() - since).days, 0) + 1
    return [fixing for fixing in _fixings(reference_rates(codes, days, at_least=0)) if fixing.date >= since]


def _fixings(table: ReferenceRates) -> list[Fixing]:
    return [Fixing(day, dict(zip(table.codes, row, strict=True))) for day, row in zip(table.dates, table.rows, strict=True)]


def _read_fixing(day: object, rates: object) -> Fixing:
    if not isinstance(day, str) or not isinstance(rates, dict):
        raise ValueError("no date, or no rates")
    fixing = Fixing(date.fromisoformat(day), {str(code): read_price(rate) for code, rate in rates.items()})
    if fixing.date < FIRST_FIXING or fixing.time > datetime.now(UTC):
        raise ValueError(f"rates of {fixing.date}")
    return fixing
