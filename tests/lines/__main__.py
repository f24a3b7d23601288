"""The command ``python -m tests.lines``."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from tests.lines.laboratory import COMPACT, JAVASCRIPT, Outcome, Plan, carry_out, stand
from tests.lines.line import Kind
from tests.lines.shape import SHAPES
from tests.lines.starved import Starved, starved
from tests.lines.stock import is_installed
from tests.lines.table import busy_loops, markdown, write


def main(
    lines: Annotated[str, typer.Option(help=f"Only these lines, comma separated: {', '.join(SHAPES)}.")] = "",
    transports: Annotated[
        str,
        typer.Option(
            help="Only these transports, comma separated: websocket, polling, sse, plain, each also as in "
            f"'sse{COMPACT}', and '{JAVASCRIPT}websocket' and '{JAVASCRIPT}polling' for the stock client."
        ),
    ] = "",
    seconds: Annotated[float, typer.Option(help="How long prices flow; after a pause, for a third of it again.")] = 66,
    pause: Annotated[float, typer.Option(help="How long they pause.")] = 15,
    rate: Annotated[float, typer.Option(help="Prices a second, over all pairs.")] = 80,
    through: Annotated[Kind | None, typer.Option(help="How lines are made; by default the most real way there is.")] = None,
    busy: Annotated[bool, typer.Option("--starved/--no-starved", help="Try clients that lack a processor too.")] = True,
    only_starved: Annotated[bool, typer.Option("--only-starved", help="Try nothing else.")] = False,
    to_docs: Annotated[bool, typer.Option("--write", help="Write the tables into docs/reliability.md.")] = False,
    to_json: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything is not as it should be.")] = False,
) -> None:
    """Follow a flood of prices over slow, lossy and vanished lines, and print what clients got as a table.

    All cells of the table run at once, each client on a line of its own. As it should be, a client on a line of 1 KB/s or more is
    never cut off, no price is older than 2 s (without the line's own delay), every alert arrives, no event comes twice, and a
    client is told of every price that it did not get. The place of a client that vanished is free within 45 s.

    The tables say how long the laboratory itself had to wait for a processor, which should be much less than a second: run it
    where nothing else competes for them.
    """
    chosen = [SHAPES[_known(key)] for key in _split(lines)] or list(SHAPES.values())
    best = Kind.best()
    kind = through or best
    plan = Plan(chosen, _split(transports), seconds, pause, rate)
    outcome, loops = Outcome(plan, kind, [], [], 0), list[Starved]()
    if not only_starved:
        outcome = asyncio.run(carry_out(plan, kind, stock=is_installed(), say=_say))
        typer.echo(markdown(outcome, []))
    if (busy or only_starved) and is_installed():
        _say("clients beside busy loops")
        loops = asyncio.run(_starve(kind))
        typer.echo(busy_loops(loops))
    faults = [f"{cell.line.name}, {cell.transport}: {', '.join(cell.faults)}" for cell in outcome.cells if cell.faults]
    faults += [f"{client.client}, beside busy loops: {', '.join(client.cuts)}" for client in loops if client.cuts]
    typer.echo("\n".join(["", *faults]) if faults else "Everything is as it should be.")
    if to_docs:
        write(markdown(outcome, loops))
    if to_json is not None:
        to_json.write_text(json.dumps(_as_json(outcome, loops), indent=1))
    if strict and faults:
        raise typer.Exit(1)


async def _starve(kind: Kind) -> list[Starved]:
    async with stand(kind, 1) as (feeding, [of]):
        return await starved(kind, feeding, of, 1)


def _as_json(outcome: Outcome, loops: Sequence[Starved]) -> dict[str, object]:
    return {
        "made": outcome.kind,
        "lag": outcome.lag,
        "cells": [cell.as_json() for cell in outcome.cells],
        "bursts": {burst.transport: burst.received for burst in outcome.bursts},
        "starved": {client.client: {"received": client.received, "cuts": client.cuts} for client in loops},
    }


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _known(key: str) -> str:
    if key not in SHAPES:
        raise typer.BadParameter(f"{key} is not one of {', '.join(SHAPES)}", param_hint="--lines")
    return key


def _say(text: str) -> None:
    typer.echo(text, err=True)


if __name__ == "__main__":
    typer.run(main)
