"""``/api/v1/correlation``: how pairs move together."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import combinations
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from app.errors import NoData
from app.http.files.exports import ChosenFormat, Format, exported, in_batches, with_files
from app.http.files.tables import Column, Kind
from app.http.gateway import CurrentGateway, Gateway
from app.http.matrices import NO_CORRELATIONS, newest_matrix
from app.http.parameters import BarLength, EndedBy, EndTime, StartTime, described, interval, moment, two_pairs
from app.http.refusals import NO_DATABASE, RATE_LIMITED, UNKNOWN_PAIR, WRONG_LIMIT, WRONG_TIME, refusals
from app.market.bars.candle import Granularity
from app.market.clock import rfc3339, utc_now
from app.market.measures.correlation import MINIMUM_OBSERVATIONS, Closes, Correlation, Matrix, Measure, ewma, matrix, pearson
from app.market.measures.rolling import rolling_correlation
from app.market.measures.volatility import EWMA_SEED
from app.market.pair import CurrencyPair
from app.realtime.contract.fields import SPELLED_PAIR, Message, PairName, SpelledPair, TimeText
from app.realtime.contract.figures import Coefficient, CorrelationMatrix
from app.storage.market.shared_closes import shared_closes

router = APIRouter(prefix="/api/v1/correlation", tags=["correlation"])

_WINDOW = 100
_MOST_TIMES = 2000
_MATRIX_COLUMNS = (
    Column("time", Kind.TIME),
    Column("pair1", Kind.TEXT),
    Column("pair2", Kind.TEXT),
    Column("correlation", Kind.NUMBER),
    Column("observations", Kind.INTEGER),
)
_ROLLING_COLUMNS = (Column("time", Kind.TIME), Column("correlation", Kind.NUMBER))


class Method(StrEnum):
    """How a correlation is measured."""

    PEARSON = "pearson"
    EWMA = "ewma"


_MEASURES: Mapping[Method, Callable[[Closes, Closes, int], Correlation]] = {Method.PEARSON: pearson, Method.EWMA: ewma}

Window = Annotated[
    int | None,
    Query(
        ge=EWMA_SEED + 1,
        le=5000,
        description=f"The number of bars to use, the last that both pairs have; {_WINDOW} if only another parameter is given. A "
        f"correlation needs {MINIMUM_OBSERVATIONS} returns that both pairs have in common; in a window below {_WINDOW}, three "
        f"fifths of its bars, but at least {EWMA_SEED}",
    ),
]


class PairCorrelation(Message):
    """The correlation of two pairs."""

    pair1: PairName
    pair2: PairName
    correlation: float = Field(ge=-1, le=1, description="ρ of log returns", examples=[0.7342])
    observations: int = Field(description="Number of returns that both pairs have in common", examples=[99])
    granularity: Granularity
    window: int = Field(description="Number of bars used, the last that both pairs have", examples=[_WINDOW])
    method: Method
    end: TimeText = Field(description="End of the newest bar used")
    simulated: bool = Field(description="True if any of the bars is simulated")


class CorrelationAtTime(Message):
    """The correlation of two pairs at the end of a bar."""

    time: TimeText = Field(description="End of the bar")
    correlation: Coefficient


class RollingCorrelation(Message):
    """The correlation of two pairs over time."""

    pair1: PairName
    pair2: PairName
    granularity: Granularity
    window: int = Field(description="The number of bars of each correlation", examples=[_WINDOW])
    method: Method
    simulated: bool = Field(description="True if any of the bars is simulated")
    count: int = Field(description="Number of times", examples=[100])
    correlations: list[CorrelationAtTime] = Field(description="The correlation at each time, oldest first")


@dataclass(frozen=True, slots=True)
class _Computation:
    """Which bars to correlate, and how."""

    granularity: Granularity
    window: int
    until: datetime | None
    method: Method = Method.PEARSON

    @property
    def measure(self) -> Measure:
        """The measure of two pairs, which is undefined if they have too few returns in common."""
        measure, enough = _MEASURES[self.method], max(EWMA_SEED, min(MINIMUM_OBSERVATIONS, self.window * 3 // 5))
        return lambda first, second: measure(first, second, enough)


@dataclass(frozen=True, slots=True)
class _Computed:
    """Correlations, the end of the newest bar used, and whether any bar is simulated."""

    cells: Matrix
    end: datetime
    simulated: bool


@router.get(
    "/matrix",
    operation_id="get_correlation_matrix",
    summary="Correlations of all pairs",
    response_model=CorrelationMatrix,
    responses=with_files(WRONG_TIME, NoData(NO_CORRELATIONS), RATE_LIMITED, NO_DATABASE),
)
async def get_correlation_matrix(
    request: Request,
    gateway: CurrentGateway,
    format: ChosenFormat,
    granularity: BarLength = None,
    window: Window = None,
    end_time: EndedBy = None,
) -> CorrelationMatrix | Response:
    """Return the matrix of the last daily job or, with any parameter, one computed now, also for a past time."""
    query = _computation(granularity, window, end_time, None)
    newest = await newest_matrix(gateway) if query is None else await _computed_matrix(gateway, query)
    if format is Format.JSON:
        return newest
    cells = [
        (newest.end, first, second, newest.matrix[first].get(second), newest.observations[first].get(second))
        for first, second in combinations(newest.matrix, 2)
    ]
    return await exported(request, format, "correlation", _MATRIX_COLUMNS, in_batches(cells))


async def _computed_matrix(gateway: Gateway, query: _Computation) -> CorrelationMatrix:
    """Compute the matrix of all pairs. Raises as ``_compute`` does."""
    computed = await _compute(gateway, list(gateway.hub.pairs), query)
    return CorrelationMatrix.of(
        computed.cells,
        computed=utc_now(),
        end=computed.end,
        granularity=query.granularity,
        window=query.window,
        simulated=computed.simulated,
    )


@router.get(
    "/pairs",
    operation_id="get_pair_correlation",
    summary="Correlation of two pairs",
    responses=refusals(UNKNOWN_PAIR, WRONG_TIME, NoData(NO_CORRELATIONS), RATE_LIMITED, NO_DATABASE),
)
async def get_pair_correlation(
    gateway: CurrentGateway,
    pair1: Annotated[SpelledPair, Query(description="A pair in any accepted spelling")],
    pair2: Annotated[str, described(SPELLED_PAIR, "GBP_USD"), Query(description="Another pair")],
    granularity: BarLength = None,
    window: Window = None,
    end_time: EndedBy = None,
    method: Annotated[
        Method | None,
        Query(description="`pearson`, or `ewma`, in which recent returns weigh more: the decay is 0.94 per bar"),
    ] = None,
) -> PairCorrelation:
    """Return the correlation from the last daily job or, with any parameter, computed now, also for a past time."""
    first, second = two_pairs(pair1, pair2, gateway.hub.pairs)
    query = _computation(granularity, window, end_time, method)
    if query is not None:
        computed = await _compute(gateway, [first, second], query)
        cell = computed.cells.get(first, {}).get(second, Correlation(None, 0))
        granularity_used, window_used, end, simulated = (
            query.granularity,
            query.window,
            rfc3339(computed.end),
            computed.simulated,
        )
    else:
        newest = await newest_matrix(gateway)
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
        method=Method.PEARSON if query is None else query.method,
        end=end,
        simulated=simulated,
    )


@router.get(
    "/rolling",
    operation_id="get_rolling_correlation",
    summary="Correlation of two pairs over time",
    response_model=RollingCorrelation,
    responses=with_files(UNKNOWN_PAIR, WRONG_LIMIT, RATE_LIMITED, NO_DATABASE),
)
async def get_rolling_correlation(
    request: Request,
    gateway: CurrentGateway,
    format: ChosenFormat,
    pair1: Annotated[SpelledPair, Query(description="A pair in any accepted spelling")],
    pair2: Annotated[str, described(SPELLED_PAIR, "GBP_USD"), Query(description="Another pair")],
    granularity: BarLength = None,
    window: Annotated[
        int, Query(ge=EWMA_SEED + 1, le=500, description="The number of bars, common to both pairs, of each correlation")
    ] = _WINDOW,
    method: Annotated[Method, Query(description="`pearson`, or `ewma`, in which recent returns weigh more")] = Method.PEARSON,
    start_time: StartTime = None,
    end_time: EndTime = None,
    limit: Annotated[
        int | None,
        Query(ge=1, le=_MOST_TIMES, description=f"Maximum number of times; without it 100 in JSON, and {_MOST_TIMES} in a file"),
    ] = None,
) -> Response:
    """Return the correlation at the ends of the last bars of both pairs that ended within the interval, computed now.

    To go further back, pass the first time as `end_time`.
    """
    first, second = two_pairs(pair1, pair2, gateway.hub.pairs)
    start, end = interval(start_time, end_time)
    length, size = granularity or Granularity.H1, limit or (100 if format is Format.JSON else _MOST_TIMES)
    until = None if end is None else end - timedelta(microseconds=1)  # the end of the interval is exclusive
    async with gateway.computing():
        # A quarter more than the bars that are needed, because one of the pairs may lack some.
        series = await gateway.from_database(
            gateway.stores.candles.closes(
                [first, second], length, (size + window) * 5 // 4, until=until, real_only=gateway.real_only
            )
        )
        if len(series) == 2:
            closes = (series[first].closes, series[second].closes)
            found = await asyncio.to_thread(rolling_correlation, *closes, window, _MEASURES[method])
        else:
            found = {}
    ended = [(length.end(time), cell.value) for time, cell in found.items()]
    rows = [(rfc3339(time), value) for time, value in ended if start is None or time >= start][-size:]
    if format is not Format.JSON:
        return await exported(request, format, f"{first}_{second}_correlation", _ROLLING_COLUMNS, in_batches(rows))
    body = {
        "pair1": first.name,
        "pair2": second.name,
        "granularity": length,
        "window": window,
        "method": method,
        "simulated": any(of.simulated for of in series.values()),
        "count": len(rows),
        "correlations": [{"time": time, "correlation": value} for time, value in rows],
    }
    return Response(orjson.dumps(body), media_type="application/json")


def _computation(
    granularity: Granularity | None, window: int | None, end_time: str | None, method: Method | None
) -> _Computation | None:
    """What to compute; None if the newest matrix is asked for. Raises InvalidRequest."""
    until = moment("end_time", end_time)
    if granularity is None and window is None and until is None and method in (None, Method.PEARSON):
        return None
    return _Computation(granularity or Granularity.H1, window or _WINDOW, until, method or Method.PEARSON)


async def _compute(gateway: Gateway, pairs: list[CurrencyPair], query: _Computation) -> _Computed:
    """Compute the correlations of the pairs that have bars. Raises NoData if none has, TooManyRequests, DatabaseUnavailable."""
    async with gateway.computing():
        series = await gateway.from_database(
            shared_closes(
                gateway.stores.candles,
                pairs,
                query.granularity,
                query.window,
                until=query.until,
                real_only=gateway.real_only,
            )
        )
        if not series:
            past = "" if query.until is None else " of this time"
            raise NoData(f"No complete {query.granularity} bars are stored{past}")
        closes = {pair: of.closes for pair, of in series.items()}
        cells = await asyncio.to_thread(matrix, closes, query.measure, query.window)
    newest = max(of.end for of in series.values())
    return _Computed(cells, newest, any(of.simulated for of in series.values()))
