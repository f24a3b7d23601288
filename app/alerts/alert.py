"""An alert: what happened, how serious it is, and when."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal

AlertType = Literal["volatility_alert", "correlation_alert", "price_alert"]


class Severity(StrEnum):
    """How serious an alert is, the mildest first. As texts they do not sort that way: compare by ``rank``."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """1 for info, 2 for warning, 3 for critical."""
        return list(Severity).index(self) + 1


@dataclass(frozen=True, slots=True)
class Alert:
    """A value that reached a threshold at ``time``, aware UTC, in words for people in ``message``.

    ``pairs`` are the names of the pair or, for a correlation, of both. ``value`` and ``threshold`` are prices as Decimal in a
    price alert and plain numbers in the others, a volatility as a decimal in a year.
    """

    type: AlertType
    pairs: tuple[str, ...]
    value: float | Decimal
    threshold: float | Decimal
    severity: Severity
    message: str
    time: datetime
