"""The command ``fx-gateway``."""

import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from app.config import Settings, load_settings
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
from app.run.process import WRONG_SETTING, named_redis, run_process
from app.run.workers import listeners_of, server_on
from app.sources import SOURCES
from app.specs.documents import write_specs
from fx_gateway.progress import backfill as fetch_history
from fx_gateway.progress import import_files
from fx_gateway.standalone import run_everything
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

Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="5001")]
Workers = Annotated[int | None, typer.Option(help="Processes that serve the port together.", show_default="1")]
DataDir = Annotated[Path | None, typer.Option(help="Where the private Valkey and the SQLite file live.", show_default="data")]
Source = Annotated[
    str | None,
    typer.Option(help=f"{', '.join(SOURCES.names)}, or several by commas, preferred first.", show_default="simulated"),
]
Replay = Annotated[list[Path] | None, typer.Option(help="A file to replay; may be given several times. Implies --source replay.")]
Speed = Annotated[float | None, typer.Option(help="How many times faster than life a replay runs.", show_default="1")]


def main() -> None:
    """Run the command. A wrong setting is one line and exit code 2, a database or Redis that is away, or workers that do not stay
    alive, one line and 1.
    """
    try:
        cli()
    except* (ConfigurationError, SourceError, InvalidPair) as wrong:
        _end(wrong, WRONG_SETTING)
    except* (DatabaseUnavailable, LogUnavailable, WorkersLost) as away:
        _end(away, 1)


def _end(errors: BaseExceptionGroup[GatewayError], code: int) -> NoReturn:
    """Say in one line what went wrong first."""
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
    data_dir: DataDir = None,
    source: Source = None,
    replay: Replay = None,
    speed: Speed = None,
) -> None:
    """Everything: feed, log, hub, REST, Socket.IO and event streams, in one process, or with the last three in workers."""
    settings = load_settings(
        websocket_host=host,
        websocket_port=port,
        workers=workers,
        data_dir=data_dir,
        source=source or ("replay" if replay else None),
        replay_files=tuple(replay) if replay else None,
        replay_speed=speed,
    )
    run_process(run_everything(settings, partial(_announce, settings)), settings, ends_with_output=True)


@cli.command()
def gateway(host: Host = None, port: Port = None, workers: Workers = None) -> None:
    """The server alone, on the Redis at REDIS_URL."""
    settings = load_settings(websocket_host=host, websocket_port=port, workers=workers)
    run_process(_serve(settings, named_redis(settings)), settings, ends_with_output=True)


@cli.command()
def feed(source: Source = None, replay: Replay = None, speed: Speed = None) -> None:
    """The feed alone, into the Redis at REDIS_URL."""
    settings = load_settings(
        source=source or ("replay" if replay else None),
        replay_files=tuple(replay) if replay else None,
        replay_speed=speed,
    )
    run_process(feed_job.run(settings, named_redis(settings)), settings)


@cli.command()
def recorder() -> None:
    """The recorder alone: keeps the log of REDIS_URL in the database at DATABASE_URL."""
    settings = load_settings()
    run_process(recorder_job.run(settings, named_redis(settings)), settings)


@cli.command()
def scheduler() -> None:
    """The scheduler alone: runs the jobs when they are due, on REDIS_URL and DATABASE_URL."""
    settings = load_settings()
    run_process(scheduler_job.run(settings, named_redis(settings)), settings)


@cli.command()
def alerts() -> None:
    """The alert watch alone: price levels, and the people who are told of alerts."""
    settings = load_settings()
    run_process(alerts_job.run(settings, named_redis(settings)), settings)


@cli.command()
def job(name: Annotated[str, typer.Argument(help=f"{', '.join(JOBS)}.", show_default=False)]) -> None:
    """Run one job once, now, on REDIS_URL and DATABASE_URL."""
    if name not in JOBS:
        raise typer.BadParameter(f"there are {', '.join(JOBS)}", param_hint="NAME")
    raise typer.Exit(run_once(name, JOBS[name]))


@cli.command(name="import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="OANDA, FXCM and TrueFX files, or CSV with a header.", show_default=False)],
    pair: Annotated[str | None, typer.Option(help="The pair, where no file or row names it.")] = None,
    granularity: Annotated[Granularity | None, typer.Option(help="How long a bar lasts, where it cannot be told.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Import bars and ticks from files into the database, and account for every row."""
    settings = load_settings(data_dir=data_dir)
    named = TrackedPairs(settings.tracked_pairs).find(pair) if pair else None
    done: list[bool] = []

    async def work() -> None:
        done.append(await import_files(settings, files, pair=named, granularity=granularity, console=Console()))

    run_process(work(), settings)
    raise typer.Exit(0 if done == [True] else 1)


@cli.command()
def backfill(
    since: Annotated[datetime, typer.Option("--from", formats=_DATES, help="Where to begin, in UTC.", show_default=False)],
    until: Annotated[
        datetime | None, typer.Option("--to", formats=_DATES, help="Where to end, not included; now without it.")
    ] = None,
    granularity: Annotated[Granularity, typer.Option(help="How long a bar lasts.")] = Granularity.H1,
    pair: Annotated[list[str] | None, typer.Option(help="A pair; may be given several times. All of them without one.")] = None,
    source: Source = None,
    data_dir: DataDir = None,
) -> None:
    """Fetch bars of the past from a source; interrupted, the same command goes on where it was."""
    settings = load_settings(source=source, data_dir=data_dir)
    tracked, now = TrackedPairs(settings.tracked_pairs), utc_now()
    start, end = since.replace(tzinfo=UTC), min(until.replace(tzinfo=UTC), now) if until else now
    if start >= end:
        raise ConfigurationError("--from: it has to lie before --to, and in the past")
    pairs = [tracked.find(name) for name in pair] if pair else list(tracked)
    run_process(fetch_history(settings, pairs=pairs, granularity=granularity, start=start, end=end, console=Console()), settings)


@cli.command()
def bridge() -> None:
    """The pub/sub bridge alone: what others PUBLISH on the Redis at REDIS_URL becomes events."""
    settings = load_settings()
    run_process(bridge_job.run(settings, named_redis(settings)), settings)


@cli.command()
def watch(
    pairs: Annotated[list[str] | None, typer.Argument(help="Pairs in any accepted spelling; all of them without one.")] = None,
    url: Annotated[str, typer.Option(help="Where the gateway serves.")] = "http://localhost:5001",
) -> None:
    """Live prices of a running gateway, in the terminal."""
    try:
        run_process(watch_prices(url, pairs or []), load_settings())
    except SourceError as error:
        print(f"fx-gateway: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(1) from None


@cli.command()
def openapi(out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("openapi")) -> None:
    """Write openapi.json and asyncapi.yaml from the code."""
    write_specs(out)


async def _serve(settings: Settings, redis_url: str) -> None:
    server = server_on(listeners_of(settings), settings, redis_url, lambda url: _announce(settings, url, redis_url, None))
    await server.run_until_stopped()


def _announce(settings: Settings, url: str, redis_url: str, simulated: bool | None) -> None:
    """Say in a few lines what is served, where, and from which source."""
    source = {
        True: "SIMULATED prices, invented and not a market",
        False: f"{', '.join(settings.source)} prices",
        None: "a feed of its own",
    }
    kept = "a Redis of yours" if settings.redis_address else f"Valkey at {redis_url.removeprefix('unix://')}"
    database = "SQLite" if settings.database_address.startswith("sqlite") else "PostgreSQL"
    out = Console(highlight=False, soft_wrap=True)
    with suppress(SystemExit):  # with which rich answers a closed pipe; run_process stops the gateway in good order
        out.print(f"[bold]FX Gateway[/bold] serves {len(settings.tracked_pairs)} pairs from {source[simulated]}")
        out.print(f"  dashboard     {url}/, reference {url}/docs")
        out.print(f"  REST          {url}/api/v1/prices/all")
        out.print(f"  event stream  curl -N {url}/stream/{settings.tracked_pairs[0]}")
        out.print(f"  Socket.IO     {url}")
        out.print(f"  kept in       {kept}, {database}")
        out.print(f"Ready on {url}, stop with Ctrl+C")


if __name__ == "__main__":
    main()
