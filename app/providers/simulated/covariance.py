"""How currencies move together against the euro, estimated from the reference rates of the European Central Bank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from app.errors import SourceError
from app.providers.reference_rates import reference_rates, unlisted

Floats: TypeAlias = NDArray[np.float64]

_DAYS = 260
_FEWEST_DAYS = 60


@dataclass(frozen=True, slots=True, eq=False)
class DailyMoves:
    """The last reference rates of some currencies, and the covariance of their daily moves.

    ``logarithms`` are those of the rates for one euro, as days × currencies, oldest first. ``factor`` is a Cholesky factor of
    the covariance: standard normal numbers times it move like the currencies do in a day.
    """

    logarithms: Floats
    factor: Floats


def daily_moves(codes: Sequence[str], days: int = 0) -> DailyMoves:
    """Return the last ``days`` reference rates, at least 260, or as many as there are, and the moves of the last 260 days.

    Raises SourceError when the ECB lists too few recent rates of the currencies.
    """
    recent = reference_rates(codes, _DAYS, at_least=0).rows
    if len(recent) < _FEWEST_DAYS:
        names = ", ".join(unlisted(codes) or codes)
        raise SourceError(f"Prices of {names} cannot be simulated: the ECB lists too few recent rates")
    rows = reference_rates(codes, days).rows if days > _DAYS else recent
    logarithms: Floats = np.log(np.array(rows, dtype=np.float64))
    moves = np.diff(logarithms[-len(recent) :], axis=0)
    # R of a QR decomposition is a Cholesky factor of the covariance even when that is singular, as here: the euro does not
    # move against itself.
    factor: Floats = np.linalg.qr(moves - moves.mean(axis=0), mode="r") / np.sqrt(len(moves) - 1)
    return DailyMoves(logarithms, factor)


def checked_seed(seed: int) -> int:
    """Return the seed. Raises SourceError for a negative one."""
    if seed < 0:
        raise SourceError(f"The seed of simulated prices must be a whole number from 0 up, not {seed}")
    return seed
