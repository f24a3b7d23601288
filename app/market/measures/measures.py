"""The measures of one pair at one time, from its last bars."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from app.market.bars.candle import Candle, Granularity
from app.market.bars.mid_bars import MidBars
from app.market.measures import volatility
from app.market.measures.volatility import BARS_PER_YEAR, RISKMETRICS_DECAY, FloatArray
from app.market.pair import CurrencyPair
from app.market.source import UNKNOWN_SOURCES, Sources

MEASURE_BARS = 300
"""The number of bars that ``measure`` works best with.

Two of the measures never quite forget their start: Wilder's true range and the exponential volatility. After 300 bars the
start weighs (13/14)^285, less than 1e-9, in the one and 0.94^279, less than 4e-8, in the variance of the other. On OANDA's
hours of EUR_USD since 2010, neither is off by more than a millionth.
"""

_RANGE_BARS = 20
_SHORT_RETURNS, _LONG_RETURNS = 20, 50
_SHORT_MEAN, _MIDDLE_MEAN, _LONG_MEAN = 15, 30, 50
_BAND_BARS = 20
_TRUE_RANGES = 14


@dataclass(frozen=True, slots=True)
class Measures:
    """How a pair moved and where its price stood, as of ``end``; everything is measured on mids.

    ``start`` is the start of the first bar and ``end`` the end of the last, in UTC; ``bars`` is their number. Volatilities are
    decimals per year of ``annualization`` bars: 0.0724 is 7.24 %. Averages, bands and the true range are in price units. A figure
    that needs more bars is None. ``simulated`` is True if any of the bars is invented.

    ``volatility_20`` and ``volatility_50`` are of the last 20 and 50 returns. ``realized`` is of the last 20
    returns. ``parkinson``, ``garman_klass``, ``rogers_satchell`` and ``yang_zhang`` are of the last 20 bars; the last one also
    uses the close before them. ``ewma``, which decays by ``ewma_decay``, and ``atr``,
    Wilder's of 14 bars, are of all bars. The bands are of 20 bars, two standard deviations wide on either side.
    """

    pair: CurrencyPair
    granularity: Granularity
    start: datetime
    end: datetime
    bars: int
    annualization: float
    simulated: bool
    volatility_20: float | None
    volatility_50: float | None
    ewma: float | None
    ewma_decay: float
    parkinson: float | None
    garman_klass: float | None
    yang_zhang: float | None
    rogers_satchell: float | None
    realized: float | None
    sma_15: float | None
    sma_30: float | None
    sma_50: float | None
    bb_upper: float | None
    bb_middle: float | None
    bb_lower: float | None
    atr: float | None


def measure(candles: Sequence[Candle], bars_per_year: float | None = None, sources: Sources = UNKNOWN_SOURCES) -> Measures:
    """Measure complete bars of one pair and length, oldest first; ``MEASURE_BARS`` of them are best.

    ``bars_per_year`` defaults to ``BARS_PER_YEAR`` of their length. A weekend counts as one step, as in
    ``app.market.measures.volatility``. ``sources`` tells which sources are invented. Raises ValueError for no bars, for bars of
    several pairs or lengths, for unfinished ones, for bars out of order, and for prices that are not positive.
    """
    return measure_mids(MidBars.of(candles, sources), bars_per_year)


def measure_mids(mids: MidBars, bars_per_year: float | None = None) -> Measures:
    """Measure bars given by their mids, like ``measure``. Raises ValueError for prices that are not positive."""
    year = BARS_PER_YEAR[mids.granularity] if bars_per_year is None else bars_per_year
    open_, high, low, close = mids.open, mids.high, mids.low, mids.close
    bars = close.size
    last_20 = slice(-_RANGE_BARS, None)
    last_21 = slice(-_RANGE_BARS - 1, None)
    bands = volatility.bollinger(close[-_BAND_BARS:], _BAND_BARS) if bars >= _BAND_BARS else None
    return Measures(
        pair=mids.pair,
        granularity=mids.granularity,
        start=mids.times[0],
        end=mids.end,
        bars=bars,
        annualization=year,
        simulated=mids.simulated,
        volatility_20=_of_returns(close, _SHORT_RETURNS, year),
        volatility_50=_of_returns(close, _LONG_RETURNS, year),
        ewma=float(volatility.ewma(close, year)[-1]) if bars > volatility.EWMA_SEED else None,
        ewma_decay=RISKMETRICS_DECAY,
        parkinson=volatility.parkinson(high[last_20], low[last_20], year) if bars >= _RANGE_BARS else None,
        garman_klass=(
            volatility.garman_klass(open_[last_20], high[last_20], low[last_20], close[last_20], year)
            if bars >= _RANGE_BARS
            else None
        ),
        yang_zhang=(
            volatility.yang_zhang(open_[last_21], high[last_21], low[last_21], close[last_21], year)
            if bars > _RANGE_BARS
            else None
        ),
        rogers_satchell=(
            volatility.rogers_satchell(open_[last_20], high[last_20], low[last_20], close[last_20], year)
            if bars >= _RANGE_BARS
            else None
        ),
        realized=volatility.realized(close[last_21], year) if bars > _RANGE_BARS else None,
        sma_15=_mean(close, _SHORT_MEAN),
        sma_30=_mean(close, _MIDDLE_MEAN),
        sma_50=_mean(close, _LONG_MEAN),
        bb_upper=float(bands.upper[-1]) if bands else None,
        bb_middle=float(bands.middle[-1]) if bands else None,
        bb_lower=float(bands.lower[-1]) if bands else None,
        atr=float(volatility.atr(high, low, close, _TRUE_RANGES)[-1]) if bars > _TRUE_RANGES else None,
    )


def _of_returns(close: FloatArray, returns: int, year: float) -> float | None:
    return volatility.close_to_close(close[-returns - 1 :], year) if close.size > returns else None


def _mean(close: FloatArray, period: int) -> float | None:
    return float(volatility.sma(close[-period:], period)[-1]) if close.size >= period else None
