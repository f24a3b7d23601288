"""The values in the JSON of OANDA's v20 API: prices as text, times to the nanosecond.

Source: the definitions of primitives (``PriceValue``, ``DateTime``) in OANDA's v20 documentation, developer.oanda.com.
"""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

_PRICE = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,12})?")
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?(Z|[+-][0-9]{2}:[0-9]{2})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


def read_price(value: object) -> Decimal:
    """Return a positive price, exactly as written: ``"1.08755"``. Raises ValueError."""
    # OANDA writes prices as text. Numbers would be exact too: read_object reads them as Decimals.
    text = str(value) if isinstance(value, str | int | Decimal) else ""
    if _PRICE.fullmatch(text) is None or not (price := Decimal(text)):
        raise ValueError("no price")
    return price


def read_time(value: object) -> int:
    """Return the nanoseconds from 1970 to an RFC 3339 time, which OANDA writes with nine decimals. Raises ValueError."""
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("no time")
    seconds = (datetime.fromisoformat(match[1] + match[3]) - _EPOCH) // _SECOND
    return seconds * 1_000_000_000 + int((match[2] or "0")[:9].ljust(9, "0"))


def moment(nanoseconds: int) -> datetime:
    """Return the aware UTC time for nanoseconds since 1970, cut to the microsecond."""
    return _EPOCH + timedelta(microseconds=nanoseconds // 1000)
