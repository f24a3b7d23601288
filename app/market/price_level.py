"""A price that somebody waits for."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.market.pair import CurrencyPair


class Direction(StrEnum):
    """From which side a level is reached."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class PriceLevel:
    """A level that a user wants to be told of, and how far that has come.

    It is reached when the mid is at the level or beyond it, in its direction. While ``armed`` it waits for that. One that
    repeats is armed again later; ``cooldown_seconds`` lie between two alerts of it at least. ``triggered`` counts them. Times are
    aware UTC.
    """

    id: str
    pair: CurrencyPair
    direction: Direction
    level: Decimal
    severity: str
    message: str | None
    repeat: bool
    cooldown_seconds: int
    created: datetime
    armed: bool = True
    triggered: int = 0
    last_triggered: datetime | None = None
