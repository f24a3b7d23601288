"""The command ``python -m benchmarks``."""

import asyncio
import resource
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.machine import this_machine
from benchmarks.outcome import Outcome
from benchmarks.processes import Cores, MeasurementFailed
from benchmarks.report import Missing, Report
from benchmarks.scenarios import KEYS as SCENARIO_KEYS
from benchmarks.scenarios import SCENARIOS
from benchmarks.scenarios.scenario import Scenario
from benchmarks.stand import Bench
from benchmarks.subjects import KEYS, prepare

_FILES_BESIDE_CLIENTS = 200
_NARROWEST = 150


def main(
    only_scenario: Annotated[
        list[str] | None, typer.Option(help=f"Run only these scenarios, comma separated: {', '.join(SCENARIO_KEYS)}.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Measure only these servers, comma separated: {', '.join(KEYS)}.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Run shorter, for rough figures.")] = False,
    listing: Annotated[bool, typer.Option("--list", help="List the scenarios and exit.")] = False,
    markdown: Annotated[Path | None, typer.Option(help="Write the tables to this file as Markdown.")] = None,
    json: Annotated[Path | None, typer.Option(help="Write every figure to this file as JSON.")] = None,
) -> None:
    """Measure the cost of a delivery for the gateway and for other servers on this machine."""
    console = Console(highlight=False)
    if not console.is_terminal or console.width < _NARROWEST:
        console = Console(highlight=False, width=_NARROWEST)
    if listing:
        for scenario in SCENARIOS:
            console.print(f"{scenario.key}: {scenario.title}", markup=False)
        return
    wanted = _chosen(only_scenario, SCENARIO_KEYS, "--only-scenario")
    subjects = _chosen(only, KEYS, "--only")
    scenarios = [scenario for scenario in SCENARIOS if scenario.key in wanted]
    _allow_open_files(max(scenario.clients for scenario in scenarios))
    report = asyncio.run(_until_signal(scenarios, subjects, quick, console))
    if report is None:
        console.print("Stopped.")
        raise typer.Exit(130)
    report.show(console)
    if markdown is not None:
        markdown.write_text(report.markdown())
    if json is not None:
        report.save(json)
    if not report.outcomes:
        raise typer.Exit(1)


def _chosen(given: list[str] | None, known: Sequence[str], option: str) -> list[str]:
    chosen = [key.strip() for keys in given or known for key in keys.split(",")]
    if unknown := [key for key in chosen if key not in known]:
        raise typer.BadParameter(f"{unknown[0]} is not one of {', '.join(known)}", param_hint=option)
    return chosen


async def _until_signal(scenarios: Sequence[Scenario], subjects: Sequence[str], quick: bool, console: Console) -> Report | None:
    """Measure; return None if SIGINT or SIGTERM interrupted it. Everything that was started is stopped."""
    task = asyncio.create_task(carry_out(scenarios, subjects, quick, console))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    with suppress(asyncio.CancelledError):
        return await task
    return None


def _cancel_once(task: asyncio.Task[Report]) -> None:
    """Cancel once: a second Ctrl+C must not interrupt the cleanup that the first one started."""
    if not task.cancelling():
        task.cancel()


async def carry_out(scenarios: Sequence[Scenario], keys: Sequence[str], quick: bool, console: Console) -> Report:
    """Measure each server with one of these keys in each scenario that includes it, one after the other."""
    machine, cores = this_machine(), Cores.apart()
    outcomes: list[Outcome] = []
    missing: list[Missing] = []
    with TemporaryDirectory(prefix="fx-bench-prepared-") as folder, console.status("Preparing") as status:
        bench = Bench(cores, Path(folder), quick)
        needed = {subject.key for scenario in scenarios for subject in scenario.subjects}
        unprepared = await prepare([key for key in keys if key in needed], bench.prepared)
        for scenario in scenarios:
            for subject in scenario.subjects:
                if subject.key not in keys:
                    continue
                if (reason := unprepared.get(subject.key)) is not None:
                    missing.append(Missing(scenario.key, subject, reason))
                    continue
                status.update(f"{scenario.title}: {subject.title}")
                try:
                    outcomes += await scenario.measure(subject, bench)
                except* MeasurementFailed as failed:
                    missing.append(Missing(scenario.key, subject, _first(failed)))
    return Report(machine, cores, scenarios, outcomes, missing)


def _first(failed: BaseException) -> str:
    """Return the message of the first failure; a task group raises them together."""
    while isinstance(failed, BaseExceptionGroup):
        failed = failed.exceptions[0]
    return str(failed)


def _allow_open_files(clients: int) -> None:
    """Raise the limit of open files for this process and its children."""
    needed = clients + _FILES_BESIDE_CLIENTS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY, -1) and hard < needed:
        raise typer.BadParameter(f"the hard limit of {hard} open files is too low for {clients} clients")
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


if __name__ == "__main__":
    typer.run(main)
