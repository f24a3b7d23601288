"""The command ``python -m benchmarks``."""

import asyncio
import resource
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.machine import this_machine
from benchmarks.measure import Figures, Flow, measure
from benchmarks.processes import Cores, MeasurementFailed
from benchmarks.report import Report
from benchmarks.subjects import KEYS, SOCKETIO_ON_NODE, SUBJECTS, Subject, install_node_peer

_FILES_BESIDE_CLIENTS = 200
_NARROWEST = 118


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    clients: int
    gateway_flows: Sequence[Flow]
    peer_flows: Sequence[Flow]
    rounds: int
    subjects: Sequence[Subject]


def main(
    clients: Annotated[int, typer.Option(min=1, help="Clients of each server, every one on all 20 pairs.")] = 500,
    rate: Annotated[
        float, typer.Option(min=1, help="Events a second for the gateway, which also gets a tenth of them one by one.")
    ] = 1000,
    peer_rate: Annotated[float, typer.Option(min=0.1, help="Events a second for everyone; too many show a peer's most.")] = 15,
    burst: Annotated[int, typer.Option(min=1, help="Events published together; 20 is one of each pair.")] = 20,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long each rate is held.")] = 3,
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured; medians are shown.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help=f"Only these, comma separated: {', '.join(KEYS)}.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write every figure to this file.")] = None,
) -> None:
    """Measure what a delivery costs the gateway, and what it costs other servers on this machine."""
    console = Console(highlight=False)
    if not console.is_terminal or console.width < _NARROWEST:
        console = Console(highlight=False, width=_NARROWEST)
    wanted = [key.strip() for keys in only or KEYS for key in keys.split(",")]
    if unknown := [key for key in wanted if key not in KEYS]:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(KEYS)}", param_hint="--only")
    _allow_open_files(clients)
    slow = Flow(peer_rate, burst, seconds)
    one_by_one = Flow(rate / 10, 1, seconds)
    flows = list(dict.fromkeys([slow, one_by_one, Flow(rate, burst, seconds)]))
    plan = Plan(clients, flows, [slow], rounds, [subject for subject in SUBJECTS if subject.key in wanted])
    report = asyncio.run(_until_signal(plan, console))
    if report is None:
        console.print("Stopped.")
        raise typer.Exit(130)
    report.show(console)
    if json is not None:
        report.save(json)
    if not report.measured:
        raise typer.Exit(1)


async def _until_signal(plan: Plan, console: Console) -> Report | None:
    """Carry out the plan; None where SIGINT or SIGTERM ended it, with everything that was started."""
    task = asyncio.create_task(_carry_out(plan, console))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    with suppress(asyncio.CancelledError):
        return await task
    return None


def _cancel_once(task: asyncio.Task[Report]) -> None:
    """Cancel; a second Ctrl+C is not to interrupt the cleaning up that the first one began."""
    if not task.cancelling():
        task.cancel()


async def _carry_out(plan: Plan, console: Console) -> Report:
    machine, cores = this_machine(), Cores.apart()
    measured: list[Figures] = []
    not_run: dict[Subject, str] = {}
    with TemporaryDirectory(prefix="fx-bench-node-") as folder, console.status("") as status:
        for subject in plan.subjects:
            if subject.name == SOCKETIO_ON_NODE:
                status.update(f"Installing {subject.name}")
                if (reason := await install_node_peer(Path(folder))) is not None:
                    not_run[subject] = reason
        for number in range(plan.rounds):
            for subject in plan.subjects:
                if subject in not_run:
                    continue
                status.update(f"Round {number + 1} of {plan.rounds}: {subject.name}, {subject.transport}")
                flows = plan.gateway_flows if subject.is_gateway else plan.peer_flows
                try:
                    measured += await measure(subject, plan.clients, flows, cores, Path(folder))
                except MeasurementFailed as error:
                    not_run[subject] = str(error)
    return Report(machine, cores, plan.clients, measured, not_run)


def _allow_open_files(clients: int) -> None:
    """Raise the limit of open files, for this process and those it starts."""
    needed = clients + _FILES_BESIDE_CLIENTS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, -1) and hard < needed:
        raise typer.BadParameter(f"this system allows {hard} open files, too few for {clients} clients", param_hint="--clients")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


if __name__ == "__main__":
    typer.run(main)
