import math
import zipfile
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import talib

from app.market.bars.candle import Candle, Granularity, Ohlc
from app.market.measures.measures import MEASURE_BARS, Measures, measure
from app.market.pair import CurrencyPair
from app.sources import SOURCES

_EUR_USD, _NZD_USD = CurrencyPair("EUR", "USD"), CurrencyPair("NZD", "USD")
_FIGURES = [field.name for field in fields(Measures) if field.name not in ("pair", "granularity", "start", "end", "bars")]


def _recorded(folder: Path, pair: CurrencyPair, first: str, bars: int) -> list[Candle]:
    """Recorded H1 bars from ``YYYYMMDD`` on."""
    with zipfile.ZipFile(folder / "oanda" / "hour" / f"{pair.name.replace('_', '').lower()}.zip") as archive:
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    candles = []
    for row in [line.split(",") for line in lines if line[:8] >= first][:bars]:
        bid, ask = Ohlc(*map(Decimal, row[1:5])), Ohlc(*map(Decimal, row[6:10]))
        mid = Ohlc(*((Decimal(b) + Decimal(a)) / 2 for b, a in zip(row[1:5], row[6:10], strict=True)))
        time = datetime.strptime(row[0], "%Y%m%d %H:%M").replace(tzinfo=UTC)
        candles.append(Candle(pair, Granularity.H1, time, bid, mid, ask, volume=100, complete=True, source="oanda"))
    return candles


def _bars(number: int, granularity: Granularity = Granularity.H1) -> list[Candle]:
    """Made-up bars that rise and fall."""
    time, candles = datetime(2026, 3, 2, tzinfo=UTC), []
    for i in range(number):
        middle = Decimal("1.1") + Decimal(i * i % 17) / 1000
        prices = Ohlc(middle, middle + Decimal("0.002"), middle - Decimal("0.001"), middle + Decimal("0.0005"))
        candles.append(Candle(_EUR_USD, granularity, time, prices, prices, prices, volume=1, complete=True, source="kraken"))
        time = granularity.end(time)
    return candles


@pytest.mark.parametrize("pair", [_EUR_USD, _NZD_USD])
@pytest.mark.parametrize("first", ["20140505", "20160620", "20180105"])
def test_measures_of_recorded_hours_are_those_of_ta_lib(fx_data: Path, pair: CurrencyPair, first: str) -> None:
    candles = _recorded(fx_data, pair, first, MEASURE_BARS)
    high = np.array([float(candle.mid.high) for candle in candles])
    low = np.array([float(candle.mid.low) for candle in candles])
    close = np.array([float(candle.mid.close) for candle in candles])
    measures = measure(candles)
    assert measures.atr == pytest.approx(talib.ATR(high, low, close, 14)[-1], rel=1e-12)
    for period, mean in ((15, measures.sma_15), (30, measures.sma_30), (50, measures.sma_50)):
        assert mean == pytest.approx(talib.SMA(close, period)[-1], rel=1e-12)
    bands = [band[-1] for band in talib.BBANDS(close, 20, 2, 2)]
    assert [measures.bb_upper, measures.bb_middle, measures.bb_lower] == pytest.approx(bands, rel=1e-12)


@pytest.mark.parametrize("pair", [_EUR_USD, _NZD_USD])
def test_measures_of_recorded_hours_are_those_of_plain_sums(fx_data: Path, pair: CurrencyPair) -> None:
    candles = _recorded(fx_data, pair, "20160620", MEASURE_BARS)
    rows = [tuple(map(float, (c.mid.open, c.mid.high, c.mid.low, c.mid.close))) for c in candles]
    returns = [math.log(rows[i][3] / rows[i - 1][3]) for i in range(1, len(rows))]
    measures = measure(candles)

    assert measures.volatility_20 == pytest.approx(math.sqrt(6240 * _variance(returns[-20:])), rel=1e-12)
    assert measures.volatility_50 == pytest.approx(math.sqrt(6240 * _variance(returns[-50:])), rel=1e-12)
    variance = math.fsum(r * r for r in returns[:20]) / 20
    for value in returns[20:]:
        variance = 0.94 * variance + 0.06 * value**2
    assert measures.ewma == pytest.approx(math.sqrt(6240 * variance), rel=1e-12)
    assert measures.ewma_decay == 0.94

    last = rows[-20:]
    squares = math.fsum(math.log(h / low) ** 2 for _, h, low, _ in last)
    assert measures.parkinson == pytest.approx(math.sqrt(6240 * squares / (80 * math.log(2))), rel=1e-12)
    bodies = math.fsum(math.log(c / o) ** 2 for o, _, _, c in last)
    assert measures.garman_klass == pytest.approx(
        math.sqrt(6240 / 20 * (squares / 2 - (2 * math.log(2) - 1) * bodies)), rel=1e-12
    )
    gaps = _variance([math.log(row[0] / before[3]) for before, row in zip(rows[-21:-1], last, strict=True)])
    moves = _variance([math.log(c / o) for o, _, _, c in last])
    ranges = math.fsum(math.log(h / c) * math.log(h / o) + math.log(low / c) * math.log(low / o) for o, h, low, c in last) / 20
    assert measures.rogers_satchell == pytest.approx(math.sqrt(6240 * ranges), rel=1e-12)
    assert measures.realized == pytest.approx(math.sqrt(6240 / 20 * math.fsum(r * r for r in returns[-20:])), rel=1e-12)
    k = 0.34 / (1.34 + 21 / 19)
    assert measures.yang_zhang == pytest.approx(math.sqrt(6240 * (gaps + k * moves + (1 - k) * ranges)), rel=1e-12)


def _variance(values: list[float]) -> float:
    """Of a sample."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)


@pytest.mark.parametrize("first", ["20100104", "20150105", "20160501"])
def test_the_bars_that_are_asked_for_measure_as_all_of_history_would(fx_data: Path, first: str) -> None:
    # 20150105 begins before the franc was let go, 20160501 before the vote of June: the beginning differs much from the end.
    history = _recorded(fx_data, _EUR_USD, first, 2000)
    differences = []
    for end in range(MEASURE_BARS + 50, len(history) + 1, 150):
        whole, window = measure(history[:end]), measure(history[end - MEASURE_BARS : end])
        assert whole.atr is not None
        assert whole.ewma is not None
        assert window.atr == pytest.approx(whole.atr, rel=1e-8)
        assert window.ewma == pytest.approx(whole.ewma, rel=1e-6)
        assert window.volatility_50 == pytest.approx(whole.volatility_50, rel=1e-12)
        differences.append(abs((window.ewma or 0) / whole.ewma - 1))
    assert len(differences) == 12
    # Nor is it far more than needed: the start still shows.
    assert max(differences) > 1e-12


def test_what_was_measured_is_said() -> None:
    candles = _bars(60, Granularity.D)
    measures = measure(candles)
    assert (measures.pair, measures.granularity, measures.bars) == (_EUR_USD, Granularity.D, 60)
    assert (measures.start, measures.end) == (candles[0].time, candles[-1].end)
    assert (measures.annualization, measures.simulated) == (260, False)


def test_a_year_of_other_bars_scales_the_volatilities_alone() -> None:
    usual, other = measure(_bars(60)), measure(_bars(60), bars_per_year=4 * 6240)
    assert (usual.annualization, other.annualization) == (6240, 24_960)
    doubled = {"volatility_20", "volatility_50", "ewma", "parkinson", "garman_klass", "yang_zhang", "rogers_satchell", "realized"}
    for name in _FIGURES:
        if name in doubled:
            assert getattr(other, name) == pytest.approx(2 * getattr(usual, name), rel=1e-12)
        elif name != "annualization":
            assert getattr(other, name) == getattr(usual, name)


@pytest.mark.parametrize("source", ["simulated", "replay"])
def test_one_invented_bar_makes_the_measures_simulated(source: str) -> None:
    candles = _bars(30)
    candles[7] = replace(candles[7], source=source)
    assert measure(candles, sources=SOURCES).simulated
    assert not measure(candles).simulated


# How many bars each figure needs.
_LEAST = {
    "volatility_20": 21, "volatility_50": 51, "ewma": 21, "parkinson": 20, "garman_klass": 20, "yang_zhang": 21,
    "rogers_satchell": 20, "realized": 21,
    "sma_15": 15, "sma_30": 30, "sma_50": 50, "bb_upper": 20, "bb_middle": 20, "bb_lower": 20, "atr": 15,
}  # fmt: skip


@pytest.mark.parametrize(("name", "least"), _LEAST.items())
def test_a_figure_is_there_once_its_bars_are(name: str, least: int) -> None:
    assert getattr(measure(_bars(least - 1)), name) is None
    assert getattr(measure(_bars(least)), name) > 0


def test_every_figure_has_its_number_of_bars_in_the_test_above() -> None:
    assert set(_FIGURES) - {"annualization", "simulated", "ewma_decay"} == set(_LEAST)
    assert all(getattr(measure(_bars(1)), name) is None for name in _LEAST)


def test_no_bars_are_an_error() -> None:
    with pytest.raises(ValueError, match="at least one bar"):
        measure([])


def test_bars_that_do_not_belong_together_are_an_error() -> None:
    candles = _bars(30)
    for changed in (replace(candles[3], pair=_NZD_USD), replace(candles[3], granularity=Granularity.M15)):
        with pytest.raises(ValueError, match="one pair and one length"):
            measure([*candles[:3], changed, *candles[4:]])


def test_unfinished_bars_and_bars_out_of_order_are_an_error() -> None:
    candles = _bars(30)
    for given in (
        [*candles[:-1], replace(candles[-1], complete=False)],
        candles[::-1],
        [*candles, candles[-1]],
        [*candles, replace(candles[-1], time=candles[-1].time - timedelta(hours=5))],
    ):
        with pytest.raises(ValueError, match="complete bars in order of time"):
            measure(given)


def test_a_price_that_is_none_is_an_error() -> None:
    candles = _bars(30)
    with pytest.raises(ValueError, match="positive and finite"):
        measure([replace(candle, mid=Ohlc.of(Decimal(0))) for candle in candles])
