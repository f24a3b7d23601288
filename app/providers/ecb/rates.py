"""The euro reference rates of the European Central Bank, from Frankfurter or from the table that comes with the program.

Frankfurter is an open service that answers with these rates and needs no key. Source: its version 1, frankfurter.dev, which
averages the days of a week when more than a year is asked for.

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

from app.errors import SourceError
from app.market.pair import CurrencyPair
from app.providers.exact_json import read_object, read_price
from app.providers.http import Interrupted, interruptions, open_client, presentable, read_body
from app.providers.reference_rates import ReferenceRates, listed, reference_rates, unlisted

FIRST_FIXING = date(1999, 1, 4)

MOST_DAYS = timedelta(days=350)
"""The longest range that, with the week before it, Frankfurter still answers day by day."""

_FIXED_AT = time(14, 15, tzinfo=ZoneInfo("Europe/Berlin"))
_WEEK = timedelta(days=7)
_ANSWERS_WITHIN = 10.0
_ENDS_WITHIN = 30.0
_LARGEST_ANSWER = 2_000_000


@dataclass(frozen=True, slots=True)
class Fixing:
    """The rates of a day: units of each currency for one euro."""

    date: date
    rates: Mapping[str, Decimal]

    @property
    def time(self) -> datetime:
        """The time of the fixing, in UTC."""
        return datetime.combine(self.date, _FIXED_AT).astimezone(UTC)

    def price(self, pair: CurrencyPair) -> Decimal | None:
        """Return the price of one unit of the base currency, at the precision of the pair; None if a rate is missing.

        The bank has no rate for offshore renminbi; the onshore rate is used instead.
        """
        base, quote = (Decimal(1) if code == "EUR" else self.rates.get(code) for code in codes_of(pair))
        return None if base is None or quote is None else pair.round(quote / base)


def codes_of(pair: CurrencyPair) -> tuple[str, str]:
    """Return the currencies whose rates make the price of a pair."""
    return listed(pair.base), listed(pair.quote)


class Frankfurter:
    """The service at a URL such as ``https://api.frankfurter.dev/v1``."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    async def latest(self, codes: Sequence[str]) -> Fixing:
        """Return the newest rates, for those of the currencies that have one. Raises Interrupted."""
        answer = await self._ask("latest", codes)
        try:
            return _read_fixing(answer.get("date"), answer.get("rates"))
        except ValueError as error:
            raise Interrupted(f"the answer cannot be read: {error}") from error

    async def between(self, codes: Sequence[str], first: date, last: date) -> list[Fixing]:
        """Return the rates of the days from ``first`` to ``last``, both included, in order of time.

        The two are at most ``MOST_DAYS`` apart. Raises Interrupted.
        """
        # With the week before, since Frankfurter finds nothing in a range without any fixing.
        answer = await self._ask(f"{first - _WEEK}..{last}", codes)
        rates = answer.get("rates")
        if not isinstance(rates, dict):
            raise Interrupted("the answer has no rates")
        try:
            fixings = [_read_fixing(day, of_day) for day, of_day in rates.items()]
        except ValueError as error:
            raise Interrupted(f"the answer cannot be read: {error}") from error
        return sorted((fixing for fixing in fixings if first <= fixing.date <= last), key=attrgetter("date"))

    async def _ask(self, what: str, codes: Sequence[str]) -> dict[str, object]:
        parameters = {"base": "EUR", "symbols": ",".join(code for code in codes if code != "EUR")}
        try:
            client = open_client(_ANSWERS_WITHIN, follow_redirects=True)
            with interruptions(presentable):
                async with (
                    asyncio.timeout(_ENDS_WITHIN),
                    client,
                    client.stream("GET", f"{self._url}/{what}", params=parameters) as response,
                ):
                    if response.status_code != httpx.codes.OK:
                        raise Interrupted(f"status {response.status_code}")
                    body = await read_body(response, _LARGEST_ANSWER)
        except SourceError as error:
            raise Interrupted(str(error)) from None
        except (ValueError, OSError, httpx.InvalidURL):
            # Without the cause, which may hold the password of a proxy.
            raise Interrupted("the address cannot be used") from None
        if len(body) > _LARGEST_ANSWER:
            raise Interrupted(f"the answer is longer than {_LARGEST_ANSWER} bytes")
        try:
            return read_object(body)
        except ValueError as error:
            raise Interrupted(f"the answer cannot be read: {error}") from error


def table_at_hand(codes: Sequence[str], since: date | None = None) -> list[Fixing]:
    """Return the rates that came with the program, in order of time: those since a day, or those of the newest day only.

    Only days with a rate for every currency count; for the newest day, currencies without a rate are left out.
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
