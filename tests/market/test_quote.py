from dataclasses import FrozenInstanceError
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.market.pair import CurrencyPair
from app.market.quote import Quote


def _quote(bid: str, ask: str) -> Quote:
    return Quote(CurrencyPair("EUR", "USD"), Decimal(bid), Decimal(ask), datetime(2026, 1, 5, tzinfo=UTC), "test")


@pytest.mark.parametrize(
    ("bid", "ask", "mid"),
    [
        ("1.08740", "1.08748", "1.08744"),
        ("1.08740", "1.08747", "1.087435"),
        ("151.234", "151.234", "151.234"),
    ],
)
def test_the_mid_is_exact(bid: str, ask: str, mid: str) -> None:
    assert _quote(bid, ask).mid == Decimal(mid)


def test_a_quote_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        _quote("1.1", "1.2").bid = Decimal("1.0")  # type: ignore[misc]
