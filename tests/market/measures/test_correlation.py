import math
import zipfile
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.market.measures.correlation import (
    Category,
    Closes,
    Correlation,
    Matrix,
    Measure,
    RankedPair,
    ewma,
    matrix,
    pearson,
    rank,
)
from app.market.pair import CurrencyPair

_START = datetime(2026, 1, 14, tzinfo=UTC)
_HOUR = timedelta(hours=1)
_EUR_USD, _GBP_USD, _NZD_USD, _USD_HKD = (CurrencyPair(*name) for name in zip(
    ("EUR", "GBP", "NZD", "USD"), ("USD", "USD", "USD", "HKD"), strict=True))  # fmt: skip


def _hours(folder: Path, pair: str, first: str = "2007", before: str = "2019") -> dict[datetime, float]:
    """The recorded closes of H1 bars between two days, which are written as YYYYMMDD; mid prices."""
    with zipfile.ZipFile(folder / "oanda" / "hour" / f"{pair}.zip") as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    rows = [line.split(",") for line in lines if first <= line[:8] < before]
    return {datetime.fromisoformat(row[0]).replace(tzinfo=UTC): (float(row[4]) + float(row[9])) / 2 for row in rows}


@pytest.fixture(scope="module")
def eur_usd(fx_data: Path) -> dict[datetime, float]:
    """Twelve years of hours."""
    return _hours(fx_data, "eurusd")


@pytest.fixture(scope="module")
def nzd_usd(fx_data: Path) -> dict[datetime, float]:
    """Twelve years of hours."""
    return _hours(fx_data, "nzdusd")


def _walk(seed: int, steps: int = 100) -> dict[datetime, float]:
    """A random walk from 1.1 on, one close an hour."""
    returns = np.random.default_rng(seed).normal(0, 0.001, steps)
    prices = 1.1 * np.exp(np.concatenate([[0.0], np.cumsum(returns)]))
    return {_START + number * _HOUR: price for number, price in enumerate(prices.tolist())}


def _inverse(closes: Closes) -> dict[datetime, float]:
    """What the pair costs the other way round: its returns are the same with the other sign."""
    return {time: 1 / close for time, close in closes.items()}


def _plain_returns(first: Closes, second: Closes) -> tuple[list[float], list[float]]:
    times = [time for time in sorted(first) if time in second]
    return (
        [math.log(first[later] / first[earlier]) for earlier, later in pairwise(times)],
        [math.log(second[later] / second[earlier]) for earlier, later in pairwise(times)],
    )


@st.composite
def _closes_with_holes(draw: st.DrawFn) -> dict[datetime, float]:
    """A random walk with some hours missing, in any order."""
    walk = _walk(draw(st.integers(0, 10_000)), 59)
    holes = draw(st.sets(st.sampled_from(list(walk)), max_size=15))
    return dict(draw(st.permutations([(time, close) for time, close in walk.items() if time not in holes])))


@settings(max_examples=30)
@given(_closes_with_holes(), _closes_with_holes())
def test_pearson_is_that_of_a_plain_loop(first: Closes, second: Closes) -> None:
    x, y = _plain_returns(first, second)
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    covariance = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True))
    variances = math.fsum((a - mean_x) ** 2 for a in x) * math.fsum((b - mean_y) ** 2 for b in y)
    value, observations = pearson(first, second, minimum=20)
    assert observations == len(x)
    assert value == pytest.approx(covariance / math.sqrt(variances), rel=0, abs=1e-12)
    assert pearson(second, first, minimum=20) == (value, observations)


@settings(max_examples=30)
@given(_closes_with_holes(), _closes_with_holes(), st.floats(0.5, 0.999))
def test_ewma_is_that_of_a_plain_loop(first: Closes, second: Closes, decay: float) -> None:
    x, y = _plain_returns(first, second)
    means = []
    for a, b in ((x, y), (x, x), (y, y)):
        products = [one * other for one, other in zip(a, b, strict=True)]
        mean = math.fsum(products[:20]) / 20
        for product in products[20:]:
            mean = decay * mean + (1 - decay) * product
        means.append(mean)
    value, observations = ewma(first, second, minimum=20, decay=decay)
    assert observations == len(x)
    assert value == pytest.approx(means[0] / math.sqrt(means[1] * means[2]), rel=0, abs=1e-12)


# Made on the recorded mid prices with TA-Lib 0.8.2 (CORREL of the log returns of the bars that both have); pandas 3.1.1 gives
# the same to 1e-15.
@pytest.mark.parametrize(
    ("first", "before", "expected"),
    [("20140505", "20140517", 0.35468872509277993), ("20160620", "20160702", 0.7120256395971135)],
)
def test_correlation_of_recorded_hours_is_that_of_another_library(
    fx_data: Path, first: str, before: str, expected: float
) -> None:
    value, observations = pearson(_hours(fx_data, "eurusd", first, before), _hours(fx_data, "nzdusd", first, before))
    assert observations == 236
    assert value == pytest.approx(expected, rel=0, abs=1e-12)


def test_recorded_returns_of_the_same_hours_correlate_and_those_of_others_do_not(eur_usd: Closes, nzd_usd: Closes) -> None:
    value, observations = pearson(eur_usd, nzd_usd)
    assert value == pytest.approx(0.527, abs=0.0005)
    assert observations == 74_419
    times = sorted(eur_usd.keys() & nzd_usd.keys())
    one_bar_off = {time: nzd_usd[later] for time, later in pairwise(times)}
    beside, _ = pearson(eur_usd, one_bar_off)
    assert beside is not None
    assert abs(beside) == pytest.approx(0.006, abs=0.002)


def test_recorded_windows_of_a_hundred_bars_correlate_as_they_should(eur_usd: Closes, nzd_usd: Closes) -> None:
    times = sorted(eur_usd.keys() & nzd_usd.keys())
    values = []
    for start in range(0, len(times) - 100, 300):
        window = times[start : start + 101]
        value, _ = pearson({t: eur_usd[t] for t in window}, {t: nzd_usd[t] for t in window})
        assert value is not None
        values.append(value)
    # Nine of ten lie between 0.16 and 0.76. Correlations of prices instead of returns would lie between −0.39 and 0.95.
    assert np.percentile(values, [5, 95]).tolist() == pytest.approx([0.16, 0.76], abs=0.03)


def test_independent_walks_do_not_correlate_though_their_prices_seem_to() -> None:
    walks = [(_walk(seed), _walk(seed + 1000)) for seed in range(200)]
    of_returns = [pearson(first, second).value for first, second in walks]
    of_prices = [np.corrcoef(list(first.values()), list(second.values()))[0, 1] for first, second in walks]
    assert all(value is not None and abs(value) < 0.4 for value in of_returns)
    assert np.mean(np.abs(of_prices) > 0.4) > 0.4


def test_closes_are_joined_by_time_and_not_by_position() -> None:
    closes = _walk(1)
    late = dict(list(closes.items())[7:])
    assert pearson(closes, late) == (1.0, 93)
    assert ewma(closes, late) == (1.0, 93)


def test_a_bar_that_one_lacks_lengthens_a_return_of_both() -> None:
    closes = _walk(1)
    holes = {time: close for number, (time, close) in enumerate(closes.items()) if number % 4 != 2}
    # Returns over two hours against returns over one would not agree fully.
    assert pearson(closes, holes) == (1.0, 75)


def test_inverse_prices_correlate_fully_the_other_way() -> None:
    closes = _walk(2)
    assert pearson(closes, _inverse(closes)).value == pytest.approx(-1, abs=1e-12)
    assert ewma(closes, _inverse(closes)).value == pytest.approx(-1, abs=1e-12)


def test_ewma_forgets_what_pearson_remembers() -> None:
    first = _walk(3, 200)
    returns = np.diff(np.log(list(first.values())))
    # The second moves against the first for 150 hours, then with it.
    signs = np.where(np.arange(200) < 150, -1, 1)
    prices = np.exp(np.concatenate([[0.0], np.cumsum(signs * returns)])).tolist()
    second = dict(zip(first, prices, strict=True))
    of_all, of_late = pearson(first, second).value, ewma(first, second).value
    assert of_all is not None
    assert of_late is not None
    assert of_all < -0.3
    assert of_late > 0.8


@pytest.mark.parametrize("measure", [pearson, ewma])
def test_too_little_overlap_gives_none_and_says_how_much_there_was(
    measure: Measure,
) -> None:
    closes = _walk(4)
    assert measure(closes, dict(list(closes.items())[-60:])) == (None, 59)
    assert measure(closes, dict(list(closes.items())[-61:])) == (1.0, 60)
    assert measure(closes, {}) == (None, 0)


def test_a_pair_that_does_not_move_correlates_with_none() -> None:
    closes = _walk(5)
    still = dict.fromkeys(closes, 7.8)
    for measure in (pearson, ewma):
        assert measure(closes, still) == (None, 100)
        assert measure(still, closes) == (None, 100)


def test_a_pair_that_moves_by_the_same_at_every_step_correlates_with_none() -> None:
    closes = _walk(5)
    steady = {time: 1.1 * 1.0001**number for number, time in enumerate(closes)}
    assert pearson(closes, steady) == (None, 100)
    assert ewma(closes, steady).value is not None


def test_faulty_arguments_are_errors() -> None:
    closes = _walk(6)
    for measure in (pearson, ewma):
        with pytest.raises(ValueError, match="20 returns or more, not 19"):
            measure(closes, closes, minimum=19)
        with pytest.raises(ValueError, match="positive and finite"):
            measure(closes, closes | {_START: 0.0})
    with pytest.raises(ValueError, match="between 0 and 1"):
        ewma(closes, closes, decay=1)


def test_a_matrix_has_every_cell_and_says_how_much_each_rests_on() -> None:
    euro = _walk(7)
    pound = {time: close * other for (time, close), other in zip(euro.items(), _walk(8).values(), strict=True)}
    kiwi = dict(list(_walk(9).items())[:81])
    cells = matrix({_EUR_USD: euro, _GBP_USD: pound, _NZD_USD: kiwi, _USD_HKD: {}})
    pairs = [_EUR_USD, _GBP_USD, _NZD_USD, _USD_HKD]
    assert list(cells) == pairs
    assert all(list(row) == pairs for row in cells.values())
    assert all(cells[row][column] == cells[column][row] for row in pairs for column in pairs)
    assert [cells[pair][pair] for pair in pairs] == [(1.0, 100), (1.0, 100), (1.0, 80), (None, 0)]
    assert cells[_EUR_USD][_GBP_USD] == pearson(euro, pound)
    assert cells[_EUR_USD][_NZD_USD].observations == 80
    assert cells[_NZD_USD][_USD_HKD] == (None, 0)


def test_a_matrix_can_be_of_another_measure() -> None:
    closes = {_EUR_USD: _walk(10), _GBP_USD: _walk(11)}
    assert matrix(closes, ewma)[_EUR_USD][_GBP_USD] == ewma(closes[_EUR_USD], closes[_GBP_USD])
    assert matrix({}) == {}


@pytest.mark.parametrize(
    ("correlation", "category"),
    [
        (-1.0, "hedging"),
        (-0.7, "hedging"),
        (-0.4000001, "hedging"),
        (-0.4, "diversification"),
        (0.0, "diversification"),
        (0.3999999, "diversification"),
        (0.4, "moderate"),
        (0.6999999, "moderate"),
        (0.7, "high_correlation"),
        (1.0, "high_correlation"),
    ],
)
def test_categories_have_the_bounds_of_the_contract(correlation: float, category: str) -> None:
    assert Category.of(correlation) == category


def _matrix_of(values: dict[tuple[CurrencyPair, CurrencyPair], float | None]) -> Matrix:
    pairs = [_EUR_USD, _GBP_USD, _NZD_USD, _USD_HKD]
    return {
        row: {
            column: Correlation(1.0 if row == column else values.get((row, column), values.get((column, row))), 99)
            for column in pairs
        }
        for row in pairs
    }


def test_pairs_are_ranked_within_their_category() -> None:
    values: dict[tuple[CurrencyPair, CurrencyPair], float | None] = {
        (_EUR_USD, _GBP_USD): 0.2,
        (_EUR_USD, _NZD_USD): -0.1,
        (_EUR_USD, _USD_HKD): -0.5,
        (_GBP_USD, _NZD_USD): 0.72,
        (_GBP_USD, _USD_HKD): -0.9,
        (_NZD_USD, _USD_HKD): 0.95,
    }
    assert rank(_matrix_of(values)) == [
        RankedPair(_GBP_USD, _USD_HKD, -0.9, 99, Category.HEDGING, 1),
        RankedPair(_EUR_USD, _USD_HKD, -0.5, 99, Category.HEDGING, 2),
        RankedPair(_EUR_USD, _NZD_USD, -0.1, 99, Category.DIVERSIFICATION, 1),
        RankedPair(_EUR_USD, _GBP_USD, 0.2, 99, Category.DIVERSIFICATION, 2),
        RankedPair(_NZD_USD, _USD_HKD, 0.95, 99, Category.HIGH_CORRELATION, 1),
        RankedPair(_GBP_USD, _NZD_USD, 0.72, 99, Category.HIGH_CORRELATION, 2),
    ]


def test_unknown_correlations_are_not_ranked_and_equal_ones_keep_their_order() -> None:
    values: dict[tuple[CurrencyPair, CurrencyPair], float | None] = {
        (_EUR_USD, _NZD_USD): 0.5,
        (_EUR_USD, _GBP_USD): 0.5,
        (_EUR_USD, _USD_HKD): None,
    }
    found = rank(_matrix_of(values))
    assert [(entry.second, entry.rank) for entry in found] == [(_GBP_USD, 1), (_NZD_USD, 2)]
    assert rank({}) == []


def test_every_category_has_a_reason_of_its_own() -> None:
    reasons = {RankedPair(_EUR_USD, _GBP_USD, 0.0, 99, category, 1).reason for category in Category}
    assert len(reasons) == len(Category)
    assert all(reason.endswith(".") for reason in reasons)
