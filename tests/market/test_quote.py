from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.market.pair import CurrencyPair
from app.market.quote import Quote


def _quote(bid: str, ask: str) -> Quote:
    return Quote(CurrencyPair("EUR", "USD"), Decimal(bid), Decimal(ask), datetime(2026, 1, 5, tzinfo=UTC), "test")


@pytest.mark.parametrize(
    ("bid", "ask", "mid", "spread"),
    [
        ("1.08740", "1.08748", "1.08744", "0.00008"),
        ("1.08740", "1.08747", "1.087435", "0.00007"),
        ("151.234", "151.234", "151.234", "0.000"),
    ],
)
def test_mid_and_spread_are_exact(bid: str, ask: str, mid: str, spread: str) -> None:
    quote = _quote(bid, ask)
    assert quote.mid == Decimal(mid)
    assert quote.spread == Decimal(spread)


def test_a_quote_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        _quote("1.1", "1.2").bid = Decimal("1.0")  # type: ignore[misc]
