"""The report: all outcomes as tables on the console, as Markdown and as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.outcome import Outcome
from benchmarks.processes import Cores
from benchmarks.scenarios.scenario import Scenario
from benchmarks.subjects import Subject

_HEADINGS = (
    "", "load", "deliveries\nper second", "CPU µs per\ndelivery", "gateway is\n× cheaper", "p50\nms", "p99\nms",
    "bytes per\nprice", "KiB per\nclient", "RSS\nMiB", "delivered of\nexpected",
)  # fmt: skip
_METHOD = (
    "Bytes per price are what clients read, with the framing of HTTP, websocket and Socket.IO but not of TCP and IP. "
    "CPU is the time of the serving process (for nginx, its worker), all threads, user and kernel. Latency runs from the "
    "publisher's timestamp to the client's read. Memory per client is the growth of resident memory from no clients to all.",
    "“gateway is × cheaper” is the gateway's deliveries per CPU second divided by that row's, each at its own load. The gateway "
    "sends a burst to a client in one write, so the ratio depends on the load.",
)


@dataclass(frozen=True, slots=True)
class Missing:
    """A measurement that could not run, and why."""

    scenario: str
    subject: Subject
    reason: str

    def __str__(self) -> str:
        return f"Not run: {self.scenario}, {self.subject.title}, {self.subject.transport}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Report:
    """All outcomes, and what is missing."""

    machine: Machine
    cores: Cores
    scenarios: Sequence[Scenario]
    outcomes: Sequence[Outcome]
    missing: Sequence[Missing]

    def rows(self, scenario: Scenario) -> list[list[str]]:
        """Return the cells of a scenario's table."""
        found = [outcome for outcome in self.outcomes if outcome.scenario == scenario.key]
        ours = next((outcome for outcome in found if outcome.subject.is_gateway), None)
        return [_cells(outcome, ours) for outcome in found]

    def show(self, console: Console) -> None:
        """Print the report."""
        for scenario in self.scenarios:
            if rows := self.rows(scenario):
                table = Table(
                    title=f"{scenario.key}: {scenario.title}", title_justify="left", title_style="bold",
                    box=box.SIMPLE_HEAD, pad_edge=False,
                )  # fmt: skip
                for number, heading in enumerate(_HEADINGS):
                    table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=number != 1)
                for row in rows:
                    table.add_row(*row)
                console.print(table)
            for line in self.notes(scenario):
                console.print(line, markup=False)
        for line in self.conditions():
            console.print(line, style="dim", markup=False)

    def markdown(self) -> str:
        """Return the report as Markdown."""
        headings = [heading.replace("\n", " ") for heading in _HEADINGS]
        lines = ["# Benchmark", ""]
        for scenario in self.scenarios:
            lines += [f"## {scenario.key}: {scenario.title}", ""]
            if rows := self.rows(scenario):
                rule = ["---", "---", *["---:"] * (len(headings) - 2)]
                lines += [f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows)] + [""]
            lines += [f"- {line}" for line in self.notes(scenario)] + [""]
        return "\n".join([*lines, "## Conditions", "", *(f"- {line}" for line in self.conditions()), ""])

    def save(self, file: Path) -> None:
        """Write the report as JSON."""
        report = {
            "machine": asdict(self.machine),
            "pinned": self.cores.pinned,
            "outcomes": [
                {
                    **asdict(outcome),
                    "cpu_per_delivery": outcome.cpu_per_delivery,
                    "bytes_per_delivery": outcome.bytes_per_delivery,
                    "per_cpu_second": outcome.per_cpu_second,
                }
                for outcome in self.outcomes
            ],
            "missing": [asdict(missing) for missing in self.missing],
        }
        file.write_text(json.dumps(report, indent=2) + "\n")

    def notes(self, scenario: Scenario) -> list[str]:
        """Return what a scenario shows beside its table: its own figures, its troubles, and what is missing."""
        lines = []
        for outcome in self.outcomes:
            if outcome.scenario != scenario.key:
                continue
            place = f"{outcome.subject.title}, {outcome.load}"
            if outcome.figures:
                lines.append(f"{place}: {_listed(outcome.figures)}")
            lines += [f"{place}: {trouble}." for trouble in outcome.troubles]
        return lines + [str(missing) for missing in self.missing if missing.scenario == scenario.key]

    def conditions(self) -> list[str]:
        """Describe method, machine and versions."""
        machine = self.machine
        versions = ", ".join(f"{name} {known}" for name, known in machine.versions.items() if known)
        return [
            *_METHOD,
            "The server had a core of its own; clients, publisher, bridge and Valkey shared the others."
            if self.cores.pinned
            else "Processes were not pinned: the machine has one core, or the system does not support it.",
            f"{machine.processor}, {machine.cores} {'core' if machine.cores == 1 else 'cores'}, "
            f"{machine.memory / 2**30:.1f} GiB, "
            f"{machine.kernel}, {machine.python}; load average {machine.load_average:.1f} at the start.",
            f"FX Gateway {machine.gateway}; {versions}.",
        ]


def _cells(outcome: Outcome, ours: Outcome | None) -> list[str]:
    times = ""
    if ours is not None and ours is not outcome and ours.per_cpu_second and outcome.per_cpu_second:
        times = f"{ours.per_cpu_second / outcome.per_cpu_second:.2f}"
    return [
        outcome.subject.title,
        outcome.load,
        _number(outcome.per_second, 1, 0),
        _number(outcome.cpu_per_delivery, 1e6, 2),
        times,
        _number(outcome.p50, 1e3, 1),
        _number(outcome.p99, 1e3, 1),
        _number(outcome.bytes_per_delivery, 1, 0),
        _number(outcome.memory, 1 / 1024, 1),
        _number(outcome.rss, 1 / 2**20, 0),
        _received(outcome),
    ]


def _received(outcome: Outcome) -> str:
    if outcome.delivered is None:
        return ""
    if outcome.delivered == outcome.expected:
        return f"all {outcome.delivered:,}"
    return f"{outcome.delivered:,} of {outcome.expected:,}"


def _number(value: float | None, factor: float, places: int) -> str:
    return "" if value is None else f"{value * factor:,.{places}f}"


def _listed(figures: Mapping[str, float | str]) -> str:
    shown = (f"{name} {value if isinstance(value, str) else format(value, ',.2f')}" for name, value in figures.items())
    return "; ".join(shown)
