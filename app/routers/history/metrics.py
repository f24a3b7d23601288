"""``/api/v1/metrics``: volatility and moving averages of pairs."""

import asyncio
import logging
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field, ValidationError

from app.errors import DatabaseUnavailable, LogUnavailable, NoData
from app.http.bars import newest_bars
from app.http.gateway import CurrentGateway, Gateway
from app.http.parameters import BarLength, EndedBy, Instrument, moment
from app.http.refusals import NO_DATABASE, RATE_LIMITED, UNKNOWN_PAIR, WRONG_TIME, refusals
from app.market.bars.candle import Granularity
from app.market.clock import rfc3339, utc_now
from app.market.measures.measures import MEASURE_BARS, measure
from app.realtime.contract.fields import Message, PairName, TimeText
from app.realtime.contract.figures import PairMetrics
from app.storage.market.metrics import StoredMetrics

router = APIRouter(prefix="/api/v1/metrics", tags=["metrics"])

_logger = logging.getLogger(__name__)

_NO_METRICS = "Nothing has been measured yet"


class AllMetrics(Message):
    """The newest measures of all pairs."""

    timestamp: TimeText
    pair_count: int = Field(description="Number of pairs", examples=[20])
    metrics: dict[PairName, PairMetrics] = Field(description="The measures by the name of the pair")


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
        found = await newest_bars(gateway, pair, length, bars or MEASURE_BARS, until)
        if not found:
            raise NoData(f"No complete {length} bars of {pair} are stored" + ("" if until is None else " of this time"))
        measures = await asyncio.to_thread(measure, found, gateway.annualization[length])
    return MetricsOfPair(instrument=pair.name, metrics=PairMetrics.of(measures, utc_now()))


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
        _logger.warning("ignoring the stored measures of %s, which are not valid", row.pair)
        return None
