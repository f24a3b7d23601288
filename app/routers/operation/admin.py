"""``/admin/state``: the live state of the gateway, for operators.

Any worker answers for all of them. The answer holds no secrets, but it is not for the public: it takes a token.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBearer
from pydantic import Field

from app.errors import DatabaseUnavailable, Forbidden, LogUnavailable
from app.http.deadline import within
from app.http.fields import (
    DroppedQuotes,
    FeedState,
    JobName,
    RecordCount,
    RunError,
    SilentPairs,
    Simulated,
    SourceName,
    SourceStates,
)
from app.http.gateway import CurrentGateway, Gateway
from app.http.refusals import NO_TOKEN, RATE_LIMITED, refusals
from app.http.tokens import token_needed
from app.market.clock import rfc3339, utc_now
from app.realtime.contract.answers import RecorderLag
from app.realtime.contract.event import ORIGIN, cursor_order
from app.realtime.contract.fields import Cursor, Message, PairName, TimeText
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import Number, Statistics
from app.realtime.monitoring.report import MOST_LAGGARDS, Laggard, Report
from app.realtime.monitoring.view import recorder_lag
from app.storage.job_runs import JobRun, JobStatus

router = APIRouter(prefix="/admin", tags=["admin"])

CLOSED = "The operator page is closed: this gateway has no ADMIN_TOKENS"
"""The reason of a refusal if the gateway has no admin tokens."""

_MOST_RUNS = 10
_TIMEOUT = 3.0

_bearer = HTTPBearer(scheme_name="AdminToken", auto_error=False, description="A token for the operator page")
_token_checked = Depends(token_needed(_bearer, lambda tokens: tokens.admin, closed=CLOSED))


class Worker(Message):
    """A worker process."""

    worker: int = Field(ge=1, description="The number of the worker", examples=[1])
    clients: int = Field(description="The streaming clients", examples=[42])
    cpu_seconds: float = Field(description="CPU time in seconds, including the processes that it replaced", examples=[12.5])
    memory_bytes: int = Field(description="Resident memory; 0 if unknown", examples=[104857600])
    loop_lag_ms: float = Field(description="Delay of its event loop in the last second, in milliseconds", examples=[0.4])
    log_lag_ms: float = Field(description="Age of the newest event when it was read, in milliseconds", examples=[1.2])
    log_behind_events: int = Field(description="Events that it had not read at the last comparison", examples=[0])
    reports: bool = Field(
        description="False if it has not reported its clients in the last seconds, as in the first answer after a pause; "
        "`laggards` and `subscriptions` are then without them"
    )


class Process(Message):
    """The gateway."""

    version: str = Field(description="The version of the gateway", examples=["0.1.0"])
    started: TimeText
    uptime_seconds: float = Field(description="Seconds since `started`", examples=[86400.5])
    workers: list[Worker] = Field(description="The worker processes")


class Clients(Message):
    """The streaming clients of all workers. Counters count from the start of the gateway."""

    total: int = Field(description="Number of clients", examples=[42])
    max: int = Field(description="Maximum number of clients", examples=[1000])
    lagging: int = Field(description="Clients that lag, as of the last second", examples=[1])
    queued_bytes: int = Field(description="Bytes queued for lagging clients, as of the last second", examples=[81920])
    by_transport: dict[str, int] = Field(
        description="Number of clients by transport: `websocket`, `polling`, `sse`",
        examples=[{"websocket": 30, "polling": 2, "sse": 10}],
    )
    connected: dict[str, int] = Field(
        description="Clients accepted, by the transport they connected with",
        examples=[{"websocket": 300, "polling": 20, "sse": 100}],
    )
    refused: dict[str, int] = Field(
        description="Clients refused, by reason: `full` or `not ready`", examples=[{"full": 0, "not ready": 3}]
    )
    cut_off: dict[str, int] = Field(description="Clients cut off, by reason", examples=[{"ping timeout": 7}])


class Log(Message):
    """The event log, as seen by the worker that answers."""

    cursor: Cursor
    seq: int = Field(description="The number of the newest event; events are numbered without gaps", examples=[123456])
    events_per_second: float = Field(description="Events per second, over up to the last ten seconds", examples=[20.5])
    age_ms: int | None = Field(description="Age of the newest event in milliseconds; null if there is none", examples=[48])
    length: int | None = Field(description="Number of events in the log; null if Redis does not answer", examples=[100012])
    memory_bytes: int | None = Field(
        description="Memory of the log in Redis, as estimated by Redis; null if unknown", examples=[21000000]
    )
    gaps: int = Field(description="Gaps that the worker that answers has met in the log", examples=[0])
    fault: str | None = Field(
        description="Why the log cannot be read now; null while it can",
        examples=["Redis does not answer: ConnectionError"],
    )


class PriceFeed(Message):
    """The feed of prices."""

    source: SourceName
    simulated: Simulated
    status: FeedState
    price_age_ms: int | None = Field(
        description="Milliseconds since the newest price was logged; null if there is none", examples=[48]
    )
    sources: SourceStates
    silent_pairs: SilentPairs
    dropped: DroppedQuotes


class LastRun(Message):
    """A run of a job."""

    job: JobName
    started: TimeText
    duration_ms: int = Field(
        ge=0, description="Duration of the run, so far if it has not ended, in milliseconds", examples=[2100]
    )
    status: JobStatus = Field(description="`partial` if a part of it failed")
    records: RecordCount
    error: RunError


class Jobs(Message):
    """The background jobs."""

    runs: list[LastRun] | None = Field(description="The last runs, newest first; null if the database does not answer")
    due: dict[str, TimeText] = Field(
        description="When each job is due next by its name, if a scheduler runs with the settings of this gateway",
        examples=[{"hourly": "2026-01-31T10:00:10.000000Z"}],
    )


class Totals(Message):
    """Counters of all workers since the gateway started, and gauges. The difference of two answers gives rates.

    A counter that has fallen, or another `started`, means that the counters were reset.
    """

    at: float = Field(description="Time of reading: seconds of a monotonic clock with an arbitrary start", examples=[5123.25])
    events: int = Field(description="Events published since the log began", examples=[123456])
    deliveries: int = Field(description="Events sent to clients, counted once for each client", examples=[5000000])
    bytes: int = Field(description="Bytes sent to clients", examples=[900000000])
    conflated: int = Field(description="Prices conflated: replaced by a newer one before they were sent", examples=[120])
    cut_off: int = Field(description="Clients cut off", examples=[7])
    refused: int = Field(description="Clients refused", examples=[3])
    cpu_seconds: float = Field(description="CPU time in seconds", examples=[345.2])
    memory_bytes: int = Field(description="Resident memory", examples=[104857600])
    loop_lag_ms: float = Field(
        description="Greatest event-loop delay of a worker in the last second, in milliseconds", examples=[0.4]
    )


class AdminState(Message):
    """The live state of the gateway."""

    timestamp: TimeText
    gateway: Process = Field(description="The gateway")
    clients: Clients = Field(description="The streaming clients")
    laggards: list[Laggard] = Field(
        max_length=MOST_LAGGARDS, description="The clients of all workers that lag the most, worst first"
    )
    subscriptions: dict[PairName, int] = Field(
        description="Number of clients subscribed to each tracked pair", examples=[{"EUR_USD": 40, "USD_JPY": 12}]
    )
    log: Log = Field(description="The event log")
    recorder: RecorderLag | None = Field(description="As the recorder last reported; null if no recorder has been heard")
    feed: PriceFeed = Field(description="The feed of prices")
    jobs: Jobs = Field(description="The background jobs")
    totals: Totals = Field(description="Counters and gauges to plot")


@router.get(
    "/state",
    operation_id="get_admin_state",
    summary="Live state of the gateway",
    dependencies=[_token_checked],
    responses=refusals(NO_TOKEN, Forbidden(CLOSED), RATE_LIMITED),
)
async def get_admin_state(gateway: CurrentGateway, request: Request, response: Response) -> AdminState:
    """Return clients, laggards, subscriptions, lags, feed, jobs, and totals from which rates can be computed.

    Until ten seconds after the last request, each worker inspects its clients once a second.
    """
    response.headers["Cache-Control"] = "no-store"
    hub, now = gateway.hub, utc_now()
    (length, memory), runs = await asyncio.gather(_size_of_log(gateway), _last_runs(gateway, now))
    hub.statistics.take_process()
    rows, reports = hub.statistics.table.rows, gateway.reports.read()
    return AdminState(
        timestamp=rfc3339(now),
        gateway=_process(gateway, request.app.version, reports),
        clients=_clients(hub, rows),
        laggards=_worst(reports),
        subscriptions=_subscriptions(hub, reports),
        log=Log(
            cursor=hub.cursor,
            seq=hub.seq,
            events_per_second=round(hub.event_rate(), 2),
            age_ms=_age_ms(hub.cursor, now),
            length=length,
            memory_bytes=memory,
            gaps=int(hub.statistics.gaps.value),
            fault=hub.log_fault,
        ),
        recorder=recorder_lag(hub),
        feed=_feed(gateway, now),
        jobs=Jobs(runs=runs, due={job: rfc3339(due) for job, due in gateway.jobs_due(now).items()}),
        totals=_totals(hub, rows),
    )


def _process(gateway: Gateway, version: str, reports: Mapping[int, Report]) -> Process:
    board = gateway.reports.board
    return Process(
        version=version,
        started=rfc3339(board.started),
        uptime_seconds=round(board.uptime, 3),
        workers=[_worker(number, row, number in reports) for number, row in enumerate(gateway.hub.statistics.table.rows, 1)],
    )


def _worker(number: int, row: Statistics, reports: bool) -> Worker:
    return Worker(
        worker=number,
        clients=row.client_count,
        cpu_seconds=round(row.cpu.value, 3),
        memory_bytes=int(row.memory.value),
        loop_lag_ms=_ms(row.loop_lag),
        log_lag_ms=_ms(row.log_lag),
        log_behind_events=int(row.log_behind.value),
        reports=reports,
    )


def _clients(hub: Hub, rows: Sequence[Statistics]) -> Clients:
    return Clients(
        total=hub.statistics.table.total_clients,
        max=hub.max_clients,
        lagging=_sum(rows, lambda row: row.lagging),
        queued_bytes=_sum(rows, lambda row: row.buffered),
        by_transport=_by_label(rows, lambda row: row.clients),
        connected=_by_label(rows, lambda row: row.connections),
        refused=_by_label(rows, lambda row: row.refused),
        cut_off=_by_label(rows, lambda row: row.cut_off),
    )


def _worst(reports: Mapping[int, Report]) -> list[Laggard]:
    laggards = [laggard for report in reports.values() for laggard in report.laggards]
    laggards.sort(key=lambda laggard: (laggard.lagging_ms, laggard.behind_ms), reverse=True)
    return laggards[:MOST_LAGGARDS]


def _subscriptions(hub: Hub, reports: Mapping[int, Report]) -> dict[str, int]:
    by_worker = [report.followers for report in reports.values()]
    return {pair: sum(followers[place] for followers in by_worker) for place, pair in enumerate(hub.pairs.names)}


def _feed(gateway: Gateway, now: datetime) -> PriceFeed:
    hub = gateway.hub
    source, simulated = gateway.current_source
    sign = hub.signs.feed
    newest = max((event.id for event in hub.book.snapshot(hub.pairs.names)), key=cursor_order, default=ORIGIN)
    return PriceFeed.model_validate(
        {
            "source": source,
            "simulated": simulated,
            "status": gateway.prices.feed_state(),
            "price_age_ms": _age_ms(newest, now),
            "sources": dict(sign.sources) if sign else {},
            "silent_pairs": gateway.prices.silent_pairs(),
            "dropped": dict(sign.dropped) if sign else {},
        }
    )


def _totals(hub: Hub, rows: Sequence[Statistics]) -> Totals:
    return Totals(
        at=round(monotonic(), 3),
        events=hub.seq,
        deliveries=sum(_by_label(rows, lambda row: row.deliveries).values()),
        bytes=_sum(rows, lambda row: row.sent),
        conflated=_sum(rows, lambda row: row.conflated),
        cut_off=sum(_by_label(rows, lambda row: row.cut_off).values()),
        refused=sum(_by_label(rows, lambda row: row.refused).values()),
        cpu_seconds=round(sum(row.cpu.value for row in rows), 3),
        memory_bytes=_sum(rows, lambda row: row.memory),
        loop_lag_ms=max(_ms(row.loop_lag) for row in rows),
    )


async def _size_of_log(gateway: Gateway) -> tuple[int | None, int | None]:
    try:
        return await within(_TIMEOUT, gateway.hub.log.size())
    except (LogUnavailable, TimeoutError):
        return None, None


async def _last_runs(gateway: Gateway, now: datetime) -> list[LastRun] | None:
    try:
        runs = await within(_TIMEOUT, gateway.from_database(gateway.stores.job_runs.newest(_MOST_RUNS)))
    except (DatabaseUnavailable, TimeoutError):
        return None
    return [_run(run, now) for run in runs]


def _run(run: JobRun, now: datetime) -> LastRun:
    taken = (run.ended or now) - run.started
    return LastRun(
        job=run.job,
        started=rfc3339(run.started),
        duration_ms=max(0, int(taken.total_seconds() * 1000)),
        status=run.status,
        records=run.records,
        error=run.error,
    )


def _age_ms(cursor: str, now: datetime) -> int | None:
    return None if cursor == ORIGIN else max(0, int(now.timestamp() * 1000) - cursor_order(cursor)[0])


def _sum(rows: Sequence[Statistics], of: Callable[[Statistics], Number]) -> int:
    return int(sum(of(row).value for row in rows))


def _by_label(rows: Sequence[Statistics], of: Callable[[Statistics], Mapping[str, Number]]) -> dict[str, int]:
    return {label: int(sum(of(row)[label].value for row in rows)) for label in of(rows[0])}


def _ms(seconds: Number) -> float:
    return round(seconds.value * 1000, 2)
