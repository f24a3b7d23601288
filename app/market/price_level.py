"""Price levels: alerts that a user sets for a price."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from app.market.pair import CurrencyPair


class Direction(StrEnum):
    """The side on which a level counts as reached: ``above`` means at the level or higher."""

    ABOVE = "above"
    BELOW = "below"


@dataclass(frozen=True, slots=True)
class PriceLevel:
    """A level that a user wants an alert for, and its state.

    The level is reached when the mid is at the level or beyond it, in its direction. An ``armed`` level is waiting for that; an
    alert disarms it, and a level with ``repeat`` is armed again later. At least ``cooldown_seconds`` pass between two alerts.
    ``triggered`` counts the alerts. Times are aware, in UTC.
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
