"""``/api/v1/correlation``: how pairs move together."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from app.errors import NoData
from app.http.gateway import CurrentGateway, Gateway
from app.http.matrices import newest_matrix
from app.http.parameters import EndedBy, moment, two_pairs
from app.http.problems import responses
from app.market.bars.candle import Granularity
from app.market.clock import rfc3339, utc_now
from app.market.measures.correlation import MINIMUM_OBSERVATIONS, Closes, Correlation, Matrix, Measure, ewma, matrix, pearson
from app.market.measures.volatility import EWMA_SEED
from app.market.pair import CurrencyPair
from app.realtime.contract.figures import CorrelationMatrix
from app.realtime.contract.messages import Message, PairName, SpelledPair, TimeText

router = APIRouter(prefix="/api/v1/correlation", tags=["correlation"])

_WINDOW = 100


class Method(StrEnum):
    """How a correlation is measured."""

    PEARSON = "pearson"
    EWMA = "ewma"


_MEASURES: Mapping[Method, Callable[[Closes, Closes, int], Correlation]] = {Method.PEARSON: pearson, Method.EWMA: ewma}

GranularityOfBars = Annotated[
    Granularity | None, Query(description="Of bars of this length; H1 where only another parameter is given")
]
Window = Annotated[
    int | None,
    Query(
        ge=EWMA_SEED + 1,
        le=5000,
        description=f"Of the last so many bars; {_WINDOW} where only another parameter is given. A correlation needs "
        f"{MINIMUM_OBSERVATIONS} returns that both pairs have in common; of a window below {_WINDOW}, three fifths of the bars, "
        f"but never fewer than {EWMA_SEED}",
    ),
]


class PairCorrelation(Message):
    """How two pairs moved together."""

    pair1: PairName
    pair2: PairName
    correlation: float = Field(ge=-1, le=1, description="ρ of log returns", examples=[0.7342])
    observations: int = Field(description="Returns that both pairs have in common", examples=[99])
    granularity: Granularity
    window: int = Field(description="How many of the last bars of each pair were used", examples=[_WINDOW])
    method: Method
    end: TimeText = Field(description="End of the newest bar used")
    simulated: bool = Field(description="True where any of the bars is invented")


@dataclass(frozen=True, slots=True)
class _Question:
    """Of which bars a correlation is asked for, and how it is measured."""

    granularity: Granularity
    window: int
    until: datetime | None
    method: Method = Method.PEARSON

    @property
    def measure(self) -> Measure:
        """What measures two pairs, and says nothing where they have too few returns in common."""
        measure, enough = _MEASURES[self.method], max(EWMA_SEED, min(MINIMUM_OBSERVATIONS, self.window * 3 // 5))
        return lambda first, second: measure(first, second, enough)


@dataclass(frozen=True, slots=True)
class _Answer:
    """Correlations of bars, the end of the newest of them, and whether any is invented."""

    cells: Matrix
    end: datetime
    simulated: bool


@router.get(
    "/matrix",
    operation_id="get_correlation_matrix",
    summary="Correlations of all pairs",
    responses=responses(400, 404, 429, 503),
)
async def get_correlation_matrix(
    gateway: CurrentGateway, granularity: GranularityOfBars = None, window: Window = None, end_time: EndedBy = None
) -> CorrelationMatrix:
    """What the daily job computed last or, with any of the parameters, what is computed at once, also of a past moment."""
    question = _question(granularity, window, end_time, None)
    if question is None:
        newest = await newest_matrix(gateway)
        if newest is None:
            raise NoData("No correlations have been computed yet")
        return newest
    answer = await _compute(gateway, list(gateway.hub.pairs), question)
    return CorrelationMatrix.of(
        answer.cells,
        computed=utc_now(),
        end=answer.end,
        granularity=question.granularity,
        window=question.window,
        simulated=answer.simulated,
    )


@router.get(
    "/pairs",
    operation_id="get_pair_correlation",
    summary="Correlation of two pairs",
    responses=responses(400, 404, 429, 503),
)
async def get_pair_correlation(
    gateway: CurrentGateway,
    pair1: Annotated[SpelledPair, Query(description="A pair in any accepted spelling", examples=["EUR_USD"])],
    pair2: Annotated[SpelledPair, Query(description="Another pair", examples=["GBP_USD"])],
    granularity: GranularityOfBars = None,
    window: Window = None,
    end_time: EndedBy = None,
    method: Annotated[
        Method | None,
        Query(description="`pearson`, or `ewma` for one in which recent returns weigh more, the decay being 0.94 a bar"),
    ] = None,
) -> PairCorrelation:
    """As the daily job computed it last or, with any of the parameters, as it is computed at once, also of a past moment."""
    first, second = two_pairs(pair1, pair2, gateway.hub.pairs)
    question = _question(granularity, window, end_time, method)
    if question is not None:
        answer = await _compute(gateway, [first, second], question)
        cell = answer.cells.get(first, {}).get(second, Correlation(None, 0))
        granularity_used, window_used, end, simulated = (
            question.granularity,
            question.window,
            rfc3339(answer.end),
            answer.simulated,
        )
    else:
        newest = await newest_matrix(gateway)
        if newest is None:
            raise NoData("No correlations have been computed yet")
        value = newest.matrix.get(first.name, {}).get(second.name)
        cell = Correlation(value, newest.observations.get(first.name, {}).get(second.name, 0))
        granularity_used, window_used, end, simulated = newest.granularity, newest.window, newest.end, newest.simulated
    if cell.value is None:
        raise NoData(f"The correlation of {first} and {second} is not known: they have {cell.observations} returns in common")
    return PairCorrelation(
        pair1=first.name,
        pair2=second.name,
        correlation=cell.value,
        observations=cell.observations,
        granularity=granularity_used,
        window=window_used,
        method=Method.PEARSON if question is None else question.method,
        end=end,
        simulated=simulated,
    )


def _question(
    granularity: Granularity | None, window: int | None, end_time: str | None, method: Method | None
) -> _Question | None:
    """What is asked for beyond the newest matrix; None where nothing is. Raises InvalidRequest."""
    until = moment("end_time", end_time)
    if granularity is None and window is None and until is None and method in (None, Method.PEARSON):
        return None
    return _Question(granularity or Granularity.H1, window or _WINDOW, until, method or Method.PEARSON)


async def _compute(gateway: Gateway, pairs: list[CurrencyPair], question: _Question) -> _Answer:
    """The correlations of those of the pairs that have bars. Raises NoData where none has, and DatabaseUnavailable."""
    async with gateway.computing():
        series = await gateway.from_database(
            gateway.candles.closes(
                pairs, question.granularity, question.window, until=question.until, real_only=gateway.real_only
            )
        )
        if not series:
            past = "" if question.until is None else " of this time"
            raise NoData(f"No complete {question.granularity} bars are stored{past}")
        cells = await asyncio.to_thread(matrix, {pair: of.closes for pair, of in series.items()}, question.measure)
    newest = max(of.end for of in series.values())
    return _Answer(cells, newest, any(of.simulated for of in series.values()))
