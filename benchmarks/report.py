"""All outcomes in a table on the console, as Markdown and as JSON."""

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
    "", "load", "deliveries\na second", "CPU µs\neach", "× per CPU\nsecond", "p50\nms", "p99\nms", "KiB per\nclient", "RSS\nMiB",
    "delivered of\nexpected",
)  # fmt: skip
_METHOD = (
    "CPU is the serving process alone, all its threads, kernel time included; of nginx its worker. Latency is from the "
    "publisher's stamp to the client's read. Memory a client is resident growth from no client to all.",
    "“× per CPU second” is how many times as many deliveries the gateway makes of a second of CPU as that row does, each at "
    "its own load. Events that come together go to a client of the gateway in one write, so a ratio means little without it.",
)


@dataclass(frozen=True, slots=True)
class Missing:
    """What could not be run, and why."""

    scenario: str
    subject: Subject
    reason: str

    def __str__(self) -> str:
        return f"Not run: {self.scenario}, {self.subject.name}, {self.subject.transport}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that was found out, and what could not be."""

    machine: Machine
    cores: Cores
    scenarios: Sequence[Scenario]
    outcomes: Sequence[Outcome]
    missing: Sequence[Missing]

    def rows(self, scenario: Scenario) -> list[list[str]]:
        """The cells of a scenario's table."""
        found = [outcome for outcome in self.outcomes if outcome.scenario == scenario.key]
        ours = next((outcome for outcome in found if outcome.subject.is_gateway), None)
        return [_cells(outcome, ours) for outcome in found]

    def show(self, console: Console) -> None:
        """Print it all."""
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
        """All of it as Markdown."""
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
        """Write it all as JSON."""
        report = {
            "machine": asdict(self.machine),
            "pinned": self.cores.pinned,
            "outcomes": [
                {**asdict(outcome), "cpu_per_delivery": outcome.cpu_per_delivery, "per_cpu_second": outcome.per_cpu_second}
                for outcome in self.outcomes
            ],
            "missing": [asdict(missing) for missing in self.missing],
        }
        file.write_text(json.dumps(report, indent=2) + "\n")

    def notes(self, scenario: Scenario) -> list[str]:
        """What belongs to a scenario and is no column: its own figures, its troubles, what could not be run."""
        lines = []
        for outcome in self.outcomes:
            if outcome.scenario != scenario.key:
                continue
            place = f"{outcome.subject.name}, {outcome.load}"
            if outcome.figures:
                lines.append(f"{place}: {_listed(outcome.figures)}")
            lines += [f"{place}: {trouble}." for trouble in outcome.troubles]
        return lines + [str(missing) for missing in self.missing if missing.scenario == scenario.key]

    def conditions(self) -> list[str]:
        """How and where it was measured."""
        machine = self.machine
        versions = ", ".join(f"{name} {known}" for name, known in machine.versions.items() if known)
        return [
            *_METHOD,
            "The server had a core of its own; clients, publisher, bridge and Valkey shared the others."
            if self.cores.pinned
            else "Processes were not pinned to cores: there is one core, or the system does not allow it.",
            f"{machine.processor}, {machine.cores} {'core' if machine.cores == 1 else 'cores'}, "
            f"{machine.memory / 2**30:.1f} GiB, "
            f"{machine.kernel}, {machine.python}; load average {machine.load_average:.1f} before.",
            f"FX Gateway {machine.gateway}; {versions}.",
        ]


def _cells(outcome: Outcome, ours: Outcome | None) -> list[str]:
    times = ""
    if ours is not None and ours is not outcome and ours.per_cpu_second and outcome.per_cpu_second:
        times = f"{ours.per_cpu_second / outcome.per_cpu_second:.2f}"
    return [
        outcome.subject.name,
        outcome.load,
        _number(outcome.per_second, 1, 0),
        _number(outcome.cpu_per_delivery, 1e6, 2),
        times,
        _number(outcome.p50, 1e3, 1),
        _number(outcome.p99, 1e3, 1),
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
