"""The command ``fx-gateway``."""

import asyncio
import sys
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from app.config import Settings, load_settings
from app.embedded import private_valkey
from app.errors import ConfigurationError, SourceError
from app.main import create_app
from app.server import GatewayServer, listen
from app.specs import write_specs
from app.watch import watch as watch_prices
from jobs import feed as feed_job
from jobs import pubsub_bridge as bridge_job
from jobs.process import WRONG_SETTING, named_redis, run_process

cli = typer.Typer(
    name="fx-gateway",
    help="Foreign-exchange prices and alerts over Socket.IO, Server-Sent Events and REST.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Host = Annotated[str | None, typer.Option(help="Address to listen on.", show_default="127.0.0.1")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", show_default="5001")]
DataDir = Annotated[Path | None, typer.Option(help="Where the private Valkey and the SQLite file live.", show_default="data")]
Source = Annotated[str | None, typer.Option(help="simulated or replay.", show_default="simulated")]
Replay = Annotated[list[Path] | None, typer.Option(help="A file to replay; may be given several times. Implies --source replay.")]
Speed = Annotated[float | None, typer.Option(help="How many times faster than life a replay runs.", show_default="1")]


def main() -> None:
    """Run the command; a wrong setting is one line and exit code 2."""
    try:
        cli()
    except (ConfigurationError, SourceError) as error:
        print(f"fx-gateway: {error}", file=sys.stderr)  # noqa: T201
        raise SystemExit(WRONG_SETTING) from None


@cli.command()
def run(
    host: Host = None,
    port: Port = None,
    data_dir: DataDir = None,
    source: Source = None,
    replay: Replay = None,
    speed: Speed = None,
) -> None:
    """Everything in one process: feed, log, hub, REST, Socket.IO and event streams."""
    settings = load_settings(
        websocket_host=host,
        websocket_port=port,
        data_dir=data_dir,
        source=source or ("replay" if replay else None),
        replay_files=tuple(replay) if replay else None,
        replay_speed=speed,
    )
    run_process(_everything(settings), settings)


@cli.command()
def gateway(host: Host = None, port: Port = None) -> None:
    """The server alone, on the Redis at REDIS_URL."""
    settings = load_settings(websocket_host=host, websocket_port=port)
    run_process(_serve(settings, named_redis(settings)), settings)


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


async def _everything(settings: Settings) -> None:
    listener = listen(settings.websocket_host, settings.websocket_port)
    source = feed_job.open_source(settings)
    async with AsyncExitStack() as stack:
        redis_url = settings.redis_address
        if redis_url is None:
            redis_url = await stack.enter_async_context(private_valkey(settings.data_dir))
        app = create_app(settings, redis_url)
        started = asyncio.Event()

        def announce(url: str, redis_url: str = redis_url) -> None:
            _announce(settings, redis_url, url, source.simulated)
            started.set()

        server = GatewayServer(app, listener, shutdown_timeout=settings.shutdown_timeout, ready=announce)
        async with asyncio.TaskGroup() as tasks:
            serving = tasks.create_task(server.run_until_stopped(), name="server")
            companions = [
                tasks.create_task(_after(started, feed_job.run(settings, redis_url, source)), name="feed"),
                tasks.create_task(_after(started, bridge_job.run(settings, redis_url)), name="bridge"),
            ]
            await serving
            for companion in companions:
                companion.cancel()


async def _serve(settings: Settings, redis_url: str) -> None:
    listener = listen(settings.websocket_host, settings.websocket_port)
    server = GatewayServer(
        create_app(settings, redis_url),
        listener,
        shutdown_timeout=settings.shutdown_timeout,
        ready=lambda url: _announce(settings, redis_url, url, None),
    )
    await server.run_until_stopped()


async def _after(started: asyncio.Event, work: Awaitable[None]) -> None:
    await started.wait()
    await work


def _announce(settings: Settings, redis_url: str, url: str, simulated: bool | None) -> None:
    """Say in a few lines what is served, where, and from which source."""
    source = {
        True: "SIMULATED prices, invented and not a market",
        False: f"{settings.source} prices",
        None: "a feed of its own",
    }
    kept = "a Redis of yours" if settings.redis_address else f"Valkey at {redis_url.removeprefix('unix://')}"
    database = "SQLite" if settings.database_address.startswith("sqlite") else "PostgreSQL"
    out = Console(highlight=False, soft_wrap=True)
    out.print(f"[bold]FX Gateway[/bold] serves {len(settings.tracked_pairs)} pairs from {source[simulated]}")
    out.print(f"  REST          {url}/api/v1/prices/all")
    out.print(f"  event stream  curl -N {url}/stream/{settings.tracked_pairs[0]}")
    out.print(f"  Socket.IO     {url}")
    out.print(f"  kept in       {kept}, {database}")
    out.print(f"Ready on {url}, stop with Ctrl+C")


if __name__ == "__main__":
    main()
