"""What a bar was made of, and which of two bars of the same time is the better one."""

from dataclasses import dataclass
from datetime import datetime, timedelta

IMPORTED = "imported"
LIVE = "live"

PARTIAL, WHOLE_LIVE, WHOLE_AGGREGATE, WHOLE_IMPORTED = range(4)
"""The standings of bars, from the worst to the best."""


@dataclass(frozen=True, slots=True)
class Made:
    """What a bar was made of.

    ``of`` is ``imported`` for a bar that a source gave as such, ``live`` for one of quotes as they came, wholly or in part, or
    the length of the bars that it was aggregated from, ``parts`` of them. A bar is ``whole`` when all that belongs is in it;
    where it is not, ``covered`` is the time for which prices are known.

    A live bar has the times of its first and its last quote, by which quotes that come in another order find their place, and
    the time ``since`` which quotes have been recorded without a loss.
    """

    of: str = IMPORTED
    parts: int = 1
    covered: timedelta = timedelta()
    whole: bool = True
    first_time: datetime | None = None
    last_time: datetime | None = None
    since: datetime | None = None


GIVEN = Made()
"""A bar as a source gave it."""


def standing(made: Made, *, complete: bool) -> int:
    """Return the standing of a bar: a better one replaces a worse, and of equals the later, or the partial one that covers more.

    A bar imported or fetched as such is the best, then one aggregated from whole shorter bars, then one of live quotes from its
    start to its end, then any that lacks something or is not over.
    """
    if not (complete and made.whole):
        return PARTIAL
    if made.of == IMPORTED:
        return WHOLE_IMPORTED
    return WHOLE_LIVE if made.of == LIVE else WHOLE_AGGREGATE
