"""``/admin/state``: what the gateway does now, for whoever runs it.

Whichever worker is asked answers for all. Nothing in it is a secret, but much of it is nobody else's business: it takes a token.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from time import monotonic
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import Field

from app.errors import DatabaseUnavailable, Forbidden, LogUnavailable
from app.http.deadline import within
from app.http.gateway import CurrentGateway, Gateway
from app.http.problems import responses
from app.http.tokens import check_token
from app.market.clock import rfc3339, utc_now
from app.realtime.contract.event import ORIGIN, cursor_order
from app.realtime.contract.messages import Cursor, Message, PairName, RecorderLag, TimeText
from app.realtime.hub.hub import Hub
from app.realtime.hub.statistics import Number, Statistics
from app.realtime.monitoring.report import MOST_LAGGARDS, Laggard, Report
from app.realtime.monitoring.view import recorder_lag
from app.storage.job_runs import JobRun, JobStatus

router = APIRouter(prefix="/admin", tags=["admin"])

CLOSED = "The operator page is closed: this gateway has no ADMIN_TOKENS"
"""Why nobody may look."""

_MOST_RUNS = 10
_ANSWER_WITHIN = 3.0

_bearer = HTTPBearer(scheme_name="AdminToken", auto_error=False, description="A token that opens the operator page")


class Worker(Message):
    """A process that serves the port."""

    worker: int = Field(ge=1, description="The number that it goes by", examples=[1])
    clients: int = Field(description="Streaming clients that it serves", examples=[42])
    cpu_seconds: float = Field(description="Processor time that it has used, its predecessors' included", examples=[12.5])
    memory_bytes: int = Field(description="Memory of it that is resident; 0 where that is not known", examples=[104857600])
    loop_lag_ms: float = Field(description="Milliseconds by which its event loop was late within the last second", examples=[0.4])
    log_lag_ms: float = Field(description="How old the newest event was when it was read, in milliseconds", examples=[1.2])
    log_behind_events: int = Field(description="Events it had not read yet when that was last compared", examples=[0])
    reports: bool = Field(
        description="False where it has not told of its clients in the last seconds, so that `laggards` and `subscriptions` are "
        "without them; the first answer after a while is"
    )


class Process(Message):
    """The gateway itself."""

    version: str = Field(description="Its version", examples=["0.1.0"])
    started: TimeText
    uptime_seconds: float = Field(description="Seconds since then", examples=[86400.5])
    workers: list[Worker] = Field(description="The processes that serve the port together")


class Clients(Message):
    """The streaming clients of all workers. What was counted was counted since the gateway started."""

    total: int = Field(description="How many there are", examples=[42])
    max: int = Field(description="How many are served at once", examples=[1000])
    lagging: int = Field(description="How many cannot take what is sent at its pace, as of the last second", examples=[1])
    queued_bytes: int = Field(description="Bytes that wait for them, as of the last second", examples=[81920])
    by_transport: dict[str, int] = Field(
        description="How many there are by `websocket`, `polling` and `sse`",
        examples=[{"websocket": 30, "polling": 2, "sse": 10}],
    )
    connected: dict[str, int] = Field(
        description="How many were taken in, by the transport that they came with",
        examples=[{"websocket": 300, "polling": 20, "sse": 100}],
    )
    refused: dict[str, int] = Field(
        description="How many were not, by the reason: `full` or `not ready`", examples=[{"full": 0, "not ready": 3}]
    )
    cut_off: dict[str, int] = Field(description="How many were cut off, by the reason", examples=[{"ping timeout": 7}])


class Log(Message):
    """The log, as the worker that answers knows it."""

    cursor: Cursor
    seq: int = Field(description="The number of the newest event; the log counts them without a hole", examples=[123456])
    events_per_second: float = Field(description="Events a second, over the last ten seconds at most", examples=[20.5])
    age_ms: int | None = Field(
        description="How old the newest event is, in milliseconds; null where there is none", examples=[48]
    )
    length: int | None = Field(description="How many events the log holds; null where Redis does not answer", examples=[100012])
    memory_bytes: int | None = Field(
        description="What they take of Redis's memory, as it estimates it; null where it does not tell", examples=[21000000]
    )
    gaps: int = Field(description="Holes that the worker that answers has met in it", examples=[0])
    fault: str | None = Field(
        description="Why it cannot be followed at the moment; null while it can",
        examples=["Redis does not answer: ConnectionError"],
    )


class PriceFeed(Message):
    """Where prices come from."""

    source: str = Field(
        description="The source, as the feed last said, else as it is configured", examples=["oanda", "simulated"]
    )
    simulated: bool | None = Field(description="True where its prices are invented; null where that is not known yet")
    status: Literal["live", "stale", "none"] = Field(
        description="`live` while any price is fresh, `stale` where none is, `none` where there never was one"
    )
    price_age_ms: int | None = Field(
        description="Milliseconds since the newest price entered the log; null where there is none", examples=[48]
    )
    sources: dict[str, str] = Field(
        description="Every source of the feed by its name, the most preferred first: `active`, `standby`, `silent` or `refused`; "
        "empty before the feed was heard",
        examples=[{"oanda": "silent", "kraken": "active"}],
    )
    dropped: dict[str, int] = Field(
        description="Quotes that the feed has not passed on since it began, by the reason", examples=[{"crossed": 3}]
    )


class LastRun(Message):
    """A run of a job."""

    job: str = Field(description="The name of the job", examples=["hourly"])
    started: TimeText
    duration_ms: int = Field(ge=0, description="How long it took or, while it runs, has taken", examples=[2100])
    status: JobStatus = Field(description="`partial` where some of it failed")
    records: int = Field(description="How many things it made", examples=[20])
    error: str | None = Field(description="What went wrong")


class Jobs(Message):
    """What ran in the background."""

    runs: list[LastRun] | None = Field(description="The last runs, the newest first; null where the database does not answer")
    due: dict[str, TimeText] = Field(
        description="When each job is due next, by its name, where a scheduler runs with the settings of this gateway",
        examples=[{"hourly": "2026-01-31T10:00:10.000000Z"}],
    )


class Totals(Message):
    """What was counted since the gateway started, over all workers, and what is so now. Two of these give rates.

    A total that is less than it was, or another start of the gateway, means that it counts anew.
    """

    at: float = Field(
        description="When this was read: seconds of a clock that only goes on, with any beginning", examples=[5123.25]
    )
    events: int = Field(description="Events in the log since its beginning, as many as there ever were", examples=[123456])
    deliveries: int = Field(description="Events handed to clients, each counted for each client", examples=[5000000])
    bytes: int = Field(description="Bytes in which they and the answers to clients went", examples=[900000000])
    conflated: int = Field(description="Prices that newer ones replaced before a client took them", examples=[120])
    cut_off: int = Field(description="Clients cut off", examples=[7])
    refused: int = Field(description="Clients not taken in", examples=[3])
    cpu_seconds: float = Field(description="Processor time", examples=[345.2])
    memory_bytes: int = Field(description="Memory that is resident now", examples=[104857600])
    loop_lag_ms: float = Field(description="As the worker whose event loop was latest in the last second", examples=[0.4])


class AdminState(Message):
    """What the gateway does now."""

    timestamp: TimeText
    gateway: Process = Field(description="The gateway itself")
    clients: Clients = Field(description="Its streaming clients")
    laggards: list[Laggard] = Field(
        max_length=MOST_LAGGARDS, description="The clients that are behind most, of all workers, the worst first"
    )
    subscriptions: dict[PairName, int] = Field(
        description="How many clients follow each tracked pair", examples=[{"EUR_USD": 40, "USD_JPY": 12}]
    )
    log: Log = Field(description="The log that everything is told from")
    recorder: RecorderLag | None = Field(description="As the recorder last said; null where none has been heard")
    feed: PriceFeed = Field(description="Where prices come from")
    jobs: Jobs = Field(description="What ran in the background")
    totals: Totals = Field(description="Figures to draw")


async def may_look(
    gateway: CurrentGateway, credentials: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]
) -> None:
    """Let pass who has a token. Raises Forbidden where this gateway has none, else Unauthorized."""
    if not gateway.admin_tokens:
        raise Forbidden(CLOSED)
    check_token(credentials, gateway.admin_tokens)


@router.get(
    "/state",
    operation_id="get_admin_state",
    summary="What the gateway does now",
    dependencies=[Depends(may_look)],
    responses=responses(401, 403, 429),
)
async def get_admin_state(gateway: CurrentGateway, request: Request, response: Response) -> AdminState:
    """Clients, the worst laggards, subscriptions, lags, the feed, jobs, and totals that rates can be made of.

    While it is asked for, and for ten seconds more, each worker looks at its clients once a second.
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
    together = [laggard for report in reports.values() for laggard in report.laggards]
    together.sort(key=lambda laggard: (laggard.lagging_ms, laggard.behind_ms), reverse=True)
    return together[:MOST_LAGGARDS]


def _subscriptions(hub: Hub, reports: Mapping[int, Report]) -> dict[str, int]:
    by_worker = [report.followers for report in reports.values()]
    return {pair: sum(followers[place] for followers in by_worker) for place, pair in enumerate(hub.pairs.names)}


def _feed(gateway: Gateway, now: datetime) -> PriceFeed:
    hub = gateway.hub
    source, simulated = gateway.shown_source
    sign = hub.signs.feed
    newest = max((event.id for event in hub.book.snapshot(hub.pairs.names)), key=cursor_order, default=ORIGIN)
    return PriceFeed.model_validate(
        {
            "source": source,
            "simulated": simulated,
            "status": gateway.prices.feed_state(),
            "price_age_ms": _age_ms(newest, now),
            "sources": dict(sign.sources) if sign else {},
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
        return await within(_ANSWER_WITHIN, gateway.hub.log.size())
    except (LogUnavailable, TimeoutError):
        return None, None


async def _last_runs(gateway: Gateway, now: datetime) -> list[LastRun] | None:
    try:
        runs = await within(_ANSWER_WITHIN, gateway.from_database(gateway.job_runs.newest(_MOST_RUNS)))
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
