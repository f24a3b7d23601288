"""``/api/v1/metrics``: volatility and moving averages of pairs."""

import asyncio
import logging
from datetime import datetime, timedelta
from math import isnan
from typing import Annotated

import orjson
from fastapi import APIRouter, Query, Request
from pydantic import Field, ValidationError
from starlette.responses import Response

from app.errors import DatabaseUnavailable, InvalidRequest, LogUnavailable, NoData
from app.http.bars import newest_mids
from app.http.files.exports import ChosenFormat, Format, exported, in_batches, with_files
from app.http.files.tables import Column, Kind
from app.http.gateway import CurrentGateway, Gateway
from app.http.parameters import (
    BarLength,
    EndedBy,
    EndTime,
    Instrument,
    StartTime,
    described,
    interval,
    listed,
    moment,
    one_of,
    several,
)
from app.http.refusals import NO_DATABASE, RATE_LIMITED, UNKNOWN_PAIR, WRONG_LIMIT, WRONG_TIME, refusals
from app.market.bars.candle import Granularity
from app.market.bars.mid_bars import MidBars
from app.market.clock import rfc3339, utc_now
from app.market.measures.measures import MEASURE_BARS, measure_mids
from app.market.measures.rolling import ROLLING, rolling
from app.quiet_log import by_client
from app.realtime.contract.fields import Message, PairName, TimeText
from app.realtime.contract.figures import PairMetrics, PriceUnits, Volatility
from app.storage.market.metrics import StoredMetrics

router = APIRouter(prefix="/api/v1/metrics", tags=["metrics"])

_logger = logging.getLogger(__name__)

_MOST = 5000
_BY_DEFAULT = 100
_UNKNOWN_MEASURE = InvalidRequest(f"measure: 'sigma' is not one of {', '.join(sorted(ROLLING))}")
_NO_METRICS = "Nothing has been measured yet"


class AllMetrics(Message):
    """The newest measures of all pairs."""

    timestamp: TimeText
    pair_count: int = Field(description="Number of pairs", examples=[20])
    metrics: dict[PairName, PairMetrics] = Field(description="The measures by the name of the pair")


class MeasuresAtTime(Message):
    """Measures at the end of a bar; those that were not asked for are absent."""

    time: TimeText = Field(description="End of the bar")
    volatility_20: Volatility = None
    volatility_50: Volatility = None
    realized: Volatility = None
    parkinson: Volatility = None
    garman_klass: Volatility = None
    rogers_satchell: Volatility = None
    yang_zhang: Volatility = None
    ewma: Volatility = None
    sma_15: PriceUnits = None
    sma_30: PriceUnits = None
    sma_50: PriceUnits = None
    bb_upper: PriceUnits = None
    bb_middle: PriceUnits = None
    bb_lower: PriceUnits = None
    atr: PriceUnits = None


class MetricsHistory(Message):
    """Measures of a pair over time."""

    instrument: PairName
    granularity: Granularity
    annualization: float = Field(description="Bars a year that volatilities are scaled to", examples=[6240])
    simulated: bool = Field(description="True where the bars are simulated")
    count: int = Field(description="Number of times", examples=[100])
    history: list[MeasuresAtTime] = Field(description="The measures at each time, oldest first")


class MetricsOfPair(Message):
    """The measures of a pair."""

    instrument: PairName
    metrics: PairMetrics = Field(description="The measures")


@router.get(
    "/volatility",
    operation_id="get_all_volatility",
    summary="Volatility of all pairs",
    responses=refusals(NoData(_NO_METRICS), RATE_LIMITED, NO_DATABASE),
)
async def get_all_volatility(gateway: CurrentGateway) -> AllMetrics:
    """Return the measures of the last hourly job. Pairs that have not been measured yet are left out."""
    metrics = await _newest(gateway, gateway.hub.pairs.names)
    if not metrics:
        raise NoData(_NO_METRICS)
    return AllMetrics(timestamp=rfc3339(utc_now()), pair_count=len(metrics), metrics=metrics)


@router.get(
    "/volatility/{instrument}",
    operation_id="get_volatility",
    summary="Volatility of a pair",
    responses=refusals(UNKNOWN_PAIR, WRONG_TIME, NoData(_NO_METRICS), RATE_LIMITED, NO_DATABASE),
)
async def get_volatility(
    gateway: CurrentGateway,
    instrument: Instrument,
    granularity: BarLength = None,
    end_time: EndedBy = None,
    bars: Annotated[
        int | None, Query(ge=2, le=5000, description=f"The number of bars; {MEASURE_BARS} if only another parameter is given")
    ] = None,
) -> MetricsOfPair:
    """Return the measures of the last hourly job or, with any parameter, computed now, also for a past time."""
    pair = gateway.hub.pairs.find(instrument)
    until = moment("end_time", end_time)
    if granularity is None and until is None and bars is None:
        metrics = await _newest(gateway, [pair.name])
        if not metrics:
            raise NoData(f"Nothing has been measured of {pair} yet")
        return MetricsOfPair(instrument=pair.name, metrics=metrics[pair.name])
    length = granularity or Granularity.H1
    async with gateway.computing():
        found = await newest_mids(gateway, pair, length, bars or MEASURE_BARS, until)
        if found is None:
            raise NoData(f"No complete {length} bars of {pair} are stored" + ("" if until is None else " of this time"))
        measures = await asyncio.to_thread(measure_mids, found, gateway.annualization[length])
    return MetricsOfPair(instrument=pair.name, metrics=PairMetrics.of(measures, utc_now()))


@router.get(
    "/history/{instrument}",
    operation_id="get_metrics_history",
    summary="Measures over time",
    response_model=MetricsHistory,
    responses=with_files(UNKNOWN_PAIR, WRONG_LIMIT, _UNKNOWN_MEASURE, RATE_LIMITED, NO_DATABASE),
)
async def get_metrics_history(
    request: Request,
    gateway: CurrentGateway,
    format: ChosenFormat,
    instrument: Instrument,
    measure: Annotated[
        list[Annotated[str, described(several(one_of(ROLLING)))]] | None,
        Query(description="Only these measures, repeated or comma separated; all by default", examples=[["yang_zhang,atr"]]),
    ] = None,
    granularity: BarLength = None,
    start_time: StartTime = None,
    end_time: EndTime = None,
    limit: Annotated[
        int | None,
        Query(ge=1, le=_MOST, description=f"Maximum number of times; without it {_BY_DEFAULT} in JSON, and {_MOST} in a file"),
    ] = None,
) -> Response:
    """Return measures at the ends of the last complete bars that ended within the interval, computed from the bars.

    To go further back, pass the first time as `end_time`. Each figure is that of the volatility of the pair at that time.
    """
    pair = gateway.hub.pairs.find(instrument)
    names = listed("measure", measure, ROLLING) or list(ROLLING)
    start, end = interval(start_time, end_time)
    length, size = granularity or Granularity.H1, limit or (_BY_DEFAULT if format is Format.JSON else _MOST)
    async with gateway.computing():
        # A bar that ends at the end of the interval, which is exclusive, is not within it.
        until = None if end is None else end - timedelta(microseconds=1)
        bars = await newest_mids(gateway, pair, length, size + MEASURE_BARS, until)
        year = gateway.annualization[length]
        rows = [] if bars is None else await asyncio.to_thread(_over_time, bars, year, names, start, size)
    columns = [Column("time", Kind.TIME), *(Column(name, Kind.NUMBER) for name in names)]
    if format is not Format.JSON:
        return await exported(request, format, f"{pair}_{length}_metrics", columns, in_batches(rows))
    body = {
        "instrument": pair.name,
        "granularity": length,
        "annualization": year,
        "simulated": bars is not None and bars.simulated,
        "count": len(rows),
        "history": [dict(zip(["time", *names], row, strict=True)) for row in rows],
    }
    return Response(orjson.dumps(body), media_type="application/json")


def _over_time(
    bars: MidBars, bars_per_year: float, names: list[str], start: datetime | None, size: int
) -> list[tuple[str | float | None, ...]]:
    """The rows of a history: a time and the measures."""
    measures = rolling(bars, bars_per_year)
    columns = [[None if isnan(value) else value for value in measures[name].tolist()] for name in names]
    ends = [bars.granularity.end(time) for time in bars.times]
    rows: list[tuple[str | float | None, ...]] = list(zip((rfc3339(end) for end in ends), *columns, strict=True))
    return [row for row, end in zip(rows, ends, strict=True) if start is None or end >= start][-size:]


async def _newest(gateway: Gateway, pairs: tuple[str, ...] | list[str]) -> dict[str, PairMetrics]:
    """The newest measures of the pairs that have any: from Redis, else from the database.

    Raises DatabaseUnavailable if the database does not answer and Redis has none.
    """
    try:
        found = await gateway.from_redis(gateway.cache.metrics(pairs))
    except LogUnavailable:
        found = {}
    missing = [pair for pair in pairs if pair not in found]
    if missing:
        try:
            stored = await gateway.from_database(gateway.stores.metrics.newest(missing))
        except DatabaseUnavailable:
            if not found:
                raise
            stored = {}
        found |= {pair: metrics for pair, row in stored.items() if (metrics := _read(row)) is not None}
    return {pair: found[pair] for pair in pairs if pair in found}


def _read(row: StoredMetrics) -> PairMetrics | None:
    """The measures of a row; None if they are not readable, such as those of another version."""
    try:
        return PairMetrics.model_validate_json(row.data)
    except ValidationError:
        _logger.warning("ignoring the stored measures of %s, which are not valid", row.pair, extra=by_client(None, row.pair))
        return None
