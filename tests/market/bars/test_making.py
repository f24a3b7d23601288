from datetime import timedelta
from itertools import pairwise

from app.market.bars.making import LIVE, Made, standing

_WORST_TO_BEST = [
    ("unfinished", Made(LIVE, whole=False, covered=timedelta(hours=23)), False),
    ("live, whole", Made(LIVE), True),
    ("aggregated, whole", Made("H1", parts=24), True),
    ("imported", Made(), True),
]


def test_the_standings_of_bars_from_the_worst_to_the_best() -> None:
    standings = [standing(made, complete=complete) for _, made, complete in _WORST_TO_BEST]
    assert all(worse < better for worse, better in pairwise(standings))


def test_whatever_lacks_something_or_is_not_over_is_partial() -> None:
    for of in ("imported", LIVE, "H1"):
        assert standing(Made(of, whole=False), complete=True) == standing(Made(of), complete=False) == 0
