"""An alert: what happened, how serious it is, and when."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from app.market.price_level import Direction

AlertType = Literal["volatility_alert", "correlation_alert", "price_alert"]


class Severity(StrEnum):
    """How serious an alert is, the mildest first. As text they do not sort that way: compare by ``rank``."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """1 for info, 2 for warning, 3 for critical."""
        return list(Severity).index(self) + 1


@dataclass(frozen=True, slots=True)
class Alert:
    """A value that reached a threshold at ``time``, aware UTC; ``message`` says so in words.

    ``pairs`` names the pair or, for a correlation, both. ``value`` and ``threshold`` are plain numbers, a volatility as an
    annual decimal; in a price alert they are prices as Decimal.
    """

    type: AlertType
    pairs: tuple[str, ...]
    value: float | Decimal
    threshold: float | Decimal
    severity: Severity
    message: str
    time: datetime


@dataclass(frozen=True, slots=True)
class PriceAlert(Alert):
    """A mid, ``value``, that reached a level, ``threshold``, which a user set under the id ``level_id``."""

    value: Decimal
    threshold: Decimal
    level_id: str
    direction: Direction
