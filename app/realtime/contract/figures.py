"""Figures that jobs compute and clients request: measures, correlations and best pairs, as they are sent and cached."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field

from app.market.bars.candle import Granularity
from app.market.clock import rfc3339
from app.market.measures.correlation import Category, Matrix, RankedPair
from app.market.measures.measures import Measures
from app.realtime.contract.fields import Message, PairName, TimeText

Volatility = Annotated[float | None, Field(description="Annualised, as a decimal: 0.0724 is 7.24 %; null with too few bars")]
PriceUnits = Annotated[float | None, Field(description="In price units; null with too few bars")]
Coefficient = Annotated[float | None, Field(ge=-1, le=1, description="ρ of log returns; null with too few observations")]


class PairMetrics(Message):
    """The measures of a pair, on the mids of its last complete bars."""

    volatility_20: Volatility = Field(description="Standard deviation of the last 20 log returns, annualised")
    volatility_50: Volatility = Field(description="The same of the last 50")
    ewma: Volatility = Field(description="Exponentially weighted, the decay being `ewma_decay` a bar (RiskMetrics)")
    ewma_decay: float = Field(examples=[0.94])
    parkinson: Volatility = Field(description="From highs and lows of the last 20 bars (Parkinson)")
    garman_klass: Volatility = Field(description="From open, high, low and close of the last 20 bars (Garman and Klass)")
    yang_zhang: Volatility = Field(description="The same with gaps and drift (Yang and Zhang)")
    rogers_satchell: Volatility = Field(None, description="From the last 20 bars, with drift (Rogers and Satchell)")
    realized: Volatility = Field(None, description="Root of the mean square of the last 20 log returns, annualised")
    sma_15: PriceUnits = Field(description="Mean of the last 15 closes")
    sma_30: PriceUnits = Field(description="Mean of the last 30 closes")
    sma_50: PriceUnits = Field(description="Mean of the last 50 closes")
    bb_upper: PriceUnits = Field(description="Upper Bollinger band: 20 bars, two standard deviations")
    bb_middle: PriceUnits = Field(description="Middle Bollinger band")
    bb_lower: PriceUnits = Field(description="Lower Bollinger band")
    atr: PriceUnits = Field(description="Average true range of 14 bars (Wilder)")
    annualization: float = Field(description="Bars a year that volatilities are scaled to", examples=[6240])
    granularity: Granularity
    bars: int = Field(description="The number of bars used", examples=[300])
    start: TimeText = Field(description="Start of the first bar used")
    end: TimeText = Field(description="End of the last bar used: the time of the figures")
    simulated: bool = Field(description="True where any of the bars is simulated")
    cached_at: TimeText = Field(description="When the figures were computed")

    @classmethod
    def of(cls, measures: Measures, computed: datetime) -> "PairMetrics":
        """Return the measures of a pair, computed at an aware time."""
        return cls(
            volatility_20=measures.volatility_20,
            volatility_50=measures.volatility_50,
            ewma=measures.ewma,
            ewma_decay=measures.ewma_decay,
            parkinson=measures.parkinson,
            garman_klass=measures.garman_klass,
            yang_zhang=measures.yang_zhang,
            rogers_satchell=measures.rogers_satchell,
            realized=measures.realized,
            sma_15=measures.sma_15,
            sma_30=measures.sma_30,
            sma_50=measures.sma_50,
            bb_upper=measures.bb_upper,
            bb_middle=measures.bb_middle,
            bb_lower=measures.bb_lower,
            atr=measures.atr,
            annualization=measures.annualization,
            granularity=measures.granularity,
            bars=measures.bars,
            start=rfc3339(measures.start),
            end=rfc3339(measures.end),
            simulated=measures.simulated,
            cached_at=rfc3339(computed),
        )


class CorrelationMatrix(Message):
    """The correlation of every pair with every other, over their last bars."""

    timestamp: TimeText = Field(description="When the matrix was computed")
    end: TimeText = Field(description="End of the newest bar used")
    granularity: Granularity
    window: int = Field(description="The number of bars used, the last that both pairs have", examples=[100])
    pair_count: int
    simulated: bool = Field(description="True where any of the bars is simulated")
    matrix: dict[PairName, dict[PairName, Coefficient]]
    observations: dict[PairName, dict[PairName, int]] = Field(description="The number of returns common to both pairs of a cell")

    @classmethod
    def of(
        cls, cells: Matrix, *, computed: datetime, end: datetime, granularity: Granularity, window: int, simulated: bool
    ) -> "CorrelationMatrix":
        """Return a matrix of ``app.market.measures.correlation``, computed over ``window`` bars up to ``end``."""
        return cls(
            timestamp=rfc3339(computed),
            end=rfc3339(end),
            granularity=granularity,
            window=window,
            pair_count=len(cells),
            simulated=simulated,
            matrix={row.name: {column.name: cell.value for column, cell in of_row.items()} for row, of_row in cells.items()},
            observations={
                row.name: {column.name: cell.observations for column, cell in of_row.items()} for row, of_row in cells.items()
            },
        )


class BestPair(Message):
    """Two pairs with a typical correlation of their category; rank 1 is the best."""

    pair1: PairName
    pair2: PairName
    category: Category
    correlation: float = Field(ge=-1, le=1)
    observations: int
    reason: str
    rank: int = Field(ge=1)


class BestPairs(Message):
    """Pairs of pairs by category and rank, from the newest matrix."""

    timestamp: TimeText = Field(description="When the matrix was computed")
    simulated: bool
    count: int
    pairs: list[BestPair]

    @classmethod
    def of(cls, ranked: Sequence[RankedPair], computed: datetime, simulated: bool) -> "BestPairs":
        """Return a ranking of ``app.market.measures.correlation``."""
        pairs = [
            BestPair(
                pair1=entry.first.name,
                pair2=entry.second.name,
                category=entry.category,
                correlation=entry.correlation,
                observations=entry.observations,
                reason=entry.reason,
                rank=entry.rank,
            )
            for entry in ranked
        ]
        return cls(timestamp=rfc3339(computed), simulated=simulated, count=len(pairs), pairs=pairs)
