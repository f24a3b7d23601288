"""The command ``fx-gateway``."""

import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from app.config import ReplayClock, Settings, load_settings
from app.errors import (
    ConfigurationError,
    DatabaseUnavailable,
    GatewayError,
    InvalidPair,
    LogUnavailable,
    SourceError,
    WorkersLost,
)
from app.market.bars.candle import Granularity
from app.market.clock import utc_now
from app.market.pair import TrackedPairs
from app.providers.bar_files.options import Crossed, Options, checked_source
from app.providers.bar_files.values.clocks import parse_clock
from app.run.process import WRONG_SETTING, named_redis, run_process
from app.run.workers import listeners_of, server_on
from app.sources import SOURCES
from app.specs.documents import write_specs
from fx_gateway.importing import dry_run_of, import_files
from fx_gateway.progress import backfill as fetch_history
from fx_gateway.standalone import run_everything
from fx_gateway.watch import Transport
from fx_gateway.watch import watch as watch_prices
from jobs import alerts as alerts_job
from jobs import feed as feed_job
from jobs import pubsub_bridge as bridge_job
from jobs import recorder as recorder_job
from jobs import scheduler as scheduler_job
from jobs.catalogue import JOBS
from jobs.running.once import run_once

_DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]

cli = typer.Typer(
    name="fx-gateway",
    help="Foreign-exchange prices and alerts over Socket.IO, Server-Sent Events and REST.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Host = Annotated[
    list[str] | None,
    typer.Option(
        help="Address to listen on; repeat for several. :: is every address of IPv6 and IPv4.", show_default="127.0.0.1"
    ),
]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.", show_default="5001")]
Workers = Annotated[int | None, typer.Option(help="Worker processes that share the port.", show_default="1")]
RootPath = Annotated[
    str | None, typer.Option(help="Path prefix under which a proxy serves the gateway, such as /fx.", show_default="none")
]
DataDir = Annotated[Path | None, typer.Option(help="Directory of the private Valkey and the SQLite file.", show_default="data")]
Source = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(SOURCES.names)}; or several with commas, preferred first.", show_default="simulated"),
]
Replay = Annotated[list[Path] | None, typer.Option(help="File to replay; repeat for several. Implies --source replay.")]
Speed = Annotated[float | None, typer.Option(help="Speed of the replay, as a multiple of real time.", show_default="1")]

Clock = Annotated[
    ReplayClock | None,
    typer.Option(help="Times of the replay: shifted to now, or the original ones.", show_default="now"),
]


def main() -> None:
    """Run the command. Errors are one line on standard error: with exit code 2 for a wrong setting, and with 1 for a database
    or Redis that is unavailable, or workers that do not stay alive.
    """
    try:
        cli()
    except* (ConfigurationError, SourceError, InvalidPair) as wrong:
        _end(wrong, WRONG_SETTING)
    except* (DatabaseUnavailable, LogUnavailable, WorkersLost) as away:
        _end(away, 1)


def _end(errors: BaseExceptionGroup[GatewayError], code: int) -> NoReturn:
    """Print the first error in one line, and exit."""
    first: BaseException = errors
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    print(f"fx-gateway: {first}", file=sys.stderr)  # noqa: T201
    raise SystemExit(code)


@cli.command()
def run(
    host: Host = None,
    port: Port = None,
    workers: Workers = None,
    root_path: RootPath = None,
    data_dir: DataDir = None,
    source: Source = None,
    replay: Replay = None,
    speed: Speed = None,
    clock: Clock = None,
) -> None:
    """Run everything: feed, recorder, alerts, jobs, and the server of REST, Socket.IO and event streams."""
    settings = load_settings(
        websocket_host=",".join(host) if host else None,
        websocket_port=port,
        workers=workers,
        root_path=root_path,
        data_dir=data_dir,
        **_source_settings(source, replay, speed, clock),
    )
    run_process(run_everything(settings, partial(_announce, settings)), settings, ends_with_output=True)


@cli.command()
def gateway(host: Host = None, port: Port = None, workers: Workers = None, root_path: RootPath = None) -> None:
    """Run only the server, on the Redis at REDIS_URL."""
    settings = load_settings(
        websocket_host=",".join(host) if host else None, websocket_port=port, workers=workers, root_path=root_path
    )
    run_process(_serve(settings, named_redis(settings)), settings, ends_with_output=True)


@cli.command()
def feed(source: Source = None, replay: Replay = None, speed: Speed = None, clock: Clock = None) -> None:
    """Run only the feed, into the Redis at REDIS_URL."""
    _run_alone(feed_job.run, load_settings(**_source_settings(source, replay, speed, clock)))


@cli.command()
def recorder() -> None:
    """Run only the recorder, from the log at REDIS_URL into the database at DATABASE_URL."""
    _run_alone(recorder_job.run, load_settings())


@cli.command()
def scheduler() -> None:
    """Run only the scheduler, which runs the jobs when they are due, on REDIS_URL and DATABASE_URL."""
    _run_alone(scheduler_job.run, load_settings())


@cli.command()
def alerts() -> None:
    """Run only the alert watch: price levels and notifications, on REDIS_URL and DATABASE_URL."""
    _run_alone(alerts_job.run, load_settings())


@cli.command()
def job(name: Annotated[str, typer.Argument(help=f"{', '.join(JOBS)}.", show_default=False)]) -> None:
    """Run one job now, on REDIS_URL and DATABASE_URL."""
    if name not in JOBS:
        raise typer.BadParameter(f"there are {', '.join(JOBS)}", param_hint="NAME")
    raise typer.Exit(run_once(name, JOBS[name]))


@cli.command(name="import")
def import_(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="Files of bars or ticks, plain or packed; see the documentation for the layouts.", show_default=False
        ),
    ],
    pair: Annotated[str | None, typer.Option(help="The pair, where no file or row names it.")] = None,
    granularity: Annotated[
        Granularity | None, typer.Option(help="How long a bar lasts, where the rows do not show it or are to be aggregated.")
    ] = None,
    timezone: Annotated[
        str | None,
        typer.Option(help="The clock of times without an offset: Europe/Athens, +02:00, EST, America/New_York+07:00."),
    ] = None,
    mark: Annotated[str | None, typer.Option("--source", help="The source that the bars are marked with.")] = None,
    crossed: Annotated[
        Crossed, typer.Option(help="What to do with rows whose ask is below the bid: swap exchanges the two.")
    ] = Crossed.REJECT,
    resample: Annotated[bool, typer.Option("--resample", help="Aggregate rows that are closer together than the bars.")] = False,
    keep_closed: Annotated[bool, typer.Option("--keep-closed", help="Keep bars in a closed market.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show how the first rows are understood, and the account; store nothing.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Import bars and ticks from files into the database, and account for every row."""
    settings = load_settings(data_dir=data_dir)
    options = Options(
        pair=TrackedPairs(settings.tracked_pairs).find(pair) if pair else None,
        granularity=granularity,
        clock=parse_clock(timezone) if timezone else None,
        source=checked_source(mark, SOURCES) if mark else None,
        crossed=crossed,
        resample=resample,
        keep_closed=keep_closed,
        sources=SOURCES,
    )
    done: list[bool] = []

    async def work() -> None:
        console = Console()
        done.append(await (dry_run_of(files, options, console) if dry_run else import_files(settings, files, options, console)))

    run_process(work(), settings)
    raise typer.Exit(0 if done == [True] else 1)


@cli.command()
def backfill(
    since: Annotated[datetime, typer.Option("--from", formats=_DATES, help="Start, in UTC.", show_default=False)],
    until: Annotated[
        datetime | None, typer.Option("--to", formats=_DATES, help="End, in UTC, exclusive; by default now.")
    ] = None,
    granularity: Annotated[Granularity, typer.Option(help="The length of a bar.")] = Granularity.H1,
    pair: Annotated[list[str] | None, typer.Option(help="Pair; repeat for several. By default all.")] = None,
    source: Source = None,
    data_dir: DataDir = None,
) -> None:
    """Fetch past bars from a source. If interrupted, the same command resumes where it stopped."""
    settings = load_settings(source=source, data_dir=data_dir)
    tracked, now = TrackedPairs(settings.tracked_pairs), utc_now()
    start, end = since.replace(tzinfo=UTC), min(until.replace(tzinfo=UTC), now) if until else now
    if start >= end:
        raise ConfigurationError("--from: must be before --to, and in the past")
    pairs = [tracked.find(name) for name in pair] if pair else list(tracked)
    run_process(fetch_history(settings, pairs=pairs, granularity=granularity, start=start, end=end, console=Console()), settings)


@cli.command()
def bridge() -> None:
    """Run only the pub/sub bridge, which turns what others PUBLISH on the Redis at REDIS_URL into events."""
    _run_alone(bridge_job.run, load_settings())


@cli.command()
def watch(
    pairs: Annotated[list[str] | None, typer.Argument(help="Pairs in any accepted spelling; by default all.")] = None,
    url: Annotated[str, typer.Option(help="URL of the gateway.")] = "http://localhost:5001",
    transport: Annotated[Transport, typer.Option(help="How the prices come.")] = Transport.STREAM,
) -> None:
    """Show live prices of a running gateway in the terminal."""
    try:
        run_process(watch_prices(url, pairs or [], transport=transport), load_settings())
    except SourceError as error:
        print(f"fx-gateway: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None


@cli.command()
def openapi(out: Annotated[Path, typer.Option(help="Directory to write to.")] = Path("openapi")) -> None:
    """Generate openapi.json and asyncapi.yaml from the code."""
    write_specs(out)


def _source_settings(
    source: str | None, replay: list[Path] | None, speed: float | None, clock: ReplayClock | None
) -> dict[str, Any]:
    """The settings of the options that name a source: a file to replay makes the replay the source."""
    return {
        "source": source or ("replay" if replay else None),
        "replay_files": tuple(replay) if replay else None,
        "replay_speed": speed,
        "replay_clock": clock,
    }


def _run_alone(job: Callable[[Settings, str], Coroutine[Any, Any, None]], settings: Settings) -> None:
    """Run a job as the only one of this process, on the Redis that the settings name."""
    run_process(job(settings, named_redis(settings)), settings)


async def _serve(settings: Settings, redis_url: str) -> None:
    server = server_on(listeners_of(settings), settings, redis_url, lambda urls: _announce(settings, urls, redis_url, None))
    await server.run_until_stopped()


def _announce(settings: Settings, urls: Sequence[str], redis_url: str, simulated: bool | None) -> None:
    """Print what is served, where, and from which source."""
    source = {
        True: "SIMULATED prices, invented and not a market",
        False: f"{', '.join(settings.source)} prices",
        None: "a separate feed",
    }
    kept = "your Redis" if settings.redis_address else f"Valkey at {redis_url.removeprefix('unix://')}"
    database = "SQLite" if settings.database_address.startswith("sqlite") else "PostgreSQL"
    url = urls[0]
    out = Console(highlight=False, soft_wrap=True)
    with suppress(SystemExit):  # with which rich answers a closed pipe; run_process stops the gateway in good order
        out.print(f"[bold]FX Gateway[/bold] serves {len(settings.tracked_pairs)} pairs from {source[simulated]}")
        out.print(f"  dashboard     {url}/, reference {url}/docs")
        out.print(f"  REST          {url}/api/v1/prices/all")
        out.print(f"  event stream  curl -N {url}/stream/{settings.tracked_pairs[0]}")
        out.print(f"  Socket.IO     {url}")
        out.print(f"  kept in       {kept}, {database}")
        out.print(f"Ready on {', '.join(urls)}, stop with Ctrl+C")


if __name__ == "__main__":
    main()
