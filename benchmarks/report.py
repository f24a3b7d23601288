"""The figures of all rounds as medians, in a table and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.measure import Figures, Flow
from benchmarks.processes import Cores
from benchmarks.subjects import Subject

_TRANSPORTS = {"websocket": "Socket.IO over websocket", "sse": "Server-Sent Events"}
_BUSY = 0.85
_HEADINGS = (
    "events/s in\nbursts of", "deliveries\na second", "per CPU\nsecond", "CPU µs\neach", "p50\nms", "p99\nms",
    "KiB per\nclient", "events each\nclient got",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The medians of one server under one flow over all rounds."""

    subject: Subject
    flow: Flow
    rounds: list[Figures]

    def middle(self, name: str) -> float | None:
        """The median of a figure; None where no round has it."""
        known = [value for figures in self.rounds if (value := getattr(figures, name)) is not None]
        return median(known) if known else None

    @property
    def per_cpu_second(self) -> float:
        """Deliveries for a second of the server's CPU time."""
        return 1 / median(figures.cpu_per_delivery for figures in self.rounds)

    @property
    def received(self) -> str:
        """What the clients got of what there was, over all rounds."""
        least = min(figures.least for figures in self.rounds)
        most = max(figures.most for figures in self.rounds)
        expected = self.rounds[0].expected
        return f"all {expected:,}" if least == most == expected else f"{least:,} to {most:,} of {expected:,}"

    @property
    def sustained(self) -> bool:
        """True where most rounds kept up."""
        return sum(figures.sustained for figures in self.rounds) * 2 > len(self.rounds)

    @property
    def place(self) -> str:
        """Which row this is, in words."""
        return f"{self.subject.name}, {self.subject.transport}, {_described(self.flow)}"

    @property
    def troubles(self) -> list[str]:
        """What a reader should know before trusting the row."""
        troubles = []
        if (self.middle("load_share") or 0) > _BUSY:
            troubles.append("the clients' own core was busy, so latency and losses are partly theirs; a lower rate shows more.")
        if (self.middle("published_in") or 0) > 1.05 * self.flow.lasts + 0.1:
            troubles.append("the publisher did not reach the rate.")
        if not self.sustained:
            troubles.append("the server did not keep up; its deliveries a second are the most it can do here.")
        if lost := sum(figures.lost for figures in self.rounds):
            troubles.append(f"{lost} connections were lost.")
        return troubles


@dataclass(frozen=True)
class Report:
    """Everything that was found out, and what could not be."""

    machine: Machine
    cores: Cores
    clients: int
    measured: Sequence[Figures]
    not_run: dict[Subject, str]

    @property
    def rows(self) -> list[Row]:
        """One for each server and flow, in the order they were first measured."""
        rounds: dict[tuple[Subject, Flow], list[Figures]] = {}
        for figures in self.measured:
            rounds.setdefault((figures.subject, figures.flow), []).append(figures)
        return [Row(subject, flow, found) for (subject, flow), found in rounds.items()]

    def show(self, console: Console) -> None:
        """Print it all."""
        for transport, title in _TRANSPORTS.items():
            rows = [row for row in self.rows if row.subject.transport == transport]
            if rows:
                console.print(_table(f"{self.clients} clients on all 20 pairs, {title}", rows))
                if (ratios := _ratios(rows)) is not None:
                    console.print(ratios)
        for line in self._notes():
            console.print(line, style="dim", markup=False)

    def save(self, file: Path) -> None:
        """Write it all as JSON, with every round."""
        report = {
            "machine": asdict(self.machine),
            "pinned": self.cores.pinned,
            "clients": self.clients,
            "medians": [_medians(row) for row in self.rows],
            "rounds": [asdict(figures) for figures in self.measured],
            "not_run": {f"{subject.name}, {subject.transport}": reason for subject, reason in self.not_run.items()},
        }
        file.write_text(json.dumps(report, indent=2) + "\n")

    def _notes(self) -> list[str]:
        measured = [*self._method(), *self._beside()] if self.measured else []
        troubles = [f"{row.place}: {trouble}" for row in self.rows for trouble in row.troubles]
        missing = [f"Not run: {subject.name}, {subject.transport}: {reason}" for subject, reason in self.not_run.items()]
        return [*measured, *troubles, *missing, *self._machine()]

    def _method(self) -> list[str]:
        """What the figures are, in words."""
        rounds = max(len(row.rounds) for row in self.rows)
        return [
            f"{f'Medians of {rounds} rounds, the servers in turn' if rounds > 1 else 'One round'}. CPU is the server process "
            "alone, all its threads, kernel time included. Latency is from the publisher's stamp to the client's read. Memory "
            "is resident growth from no client to all.",
            "Events published together go to each client of the gateway in one write; one by one (× 1) is its dearest case.",
            "The server had a core of its own; clients, publisher and Valkey shared the others."
            if self.cores.pinned
            else "Processes were not pinned to cores: there is one core, or the system does not allow it.",
        ]

    def _beside(self) -> list[str]:
        """What the other processes used."""
        gateway = [row for row in self.rows if row.subject.is_gateway]
        if not gateway:
            return []
        busiest = max(gateway, key=lambda row: row.flow.rate)
        return [
            f"Beside the gateway at {_described(busiest.flow)}, of one core each: Valkey {busiest.middle('valkey_share'):.0%}, "
            f"publisher {busiest.middle('publisher_share'):.0%}, clients {busiest.middle('load_share'):.0%}."
        ]

    def _machine(self) -> list[str]:
        machine = self.machine
        cores = "core" if machine.cores == 1 else "cores"
        versions = ", ".join(f"{name} {known}" for name, known in machine.versions.items() if known)
        return [
            f"{machine.processor}, {machine.cores} {cores}, {machine.memory / 2**30:.1f} GiB, "
            f"{machine.kernel}, {machine.python}; load average {machine.load_average:.1f} before.",
            f"FX Gateway {machine.gateway}; {versions}.",
        ]


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in _HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        memory = row.middle("memory_per_client")
        table.add_row(
            row.subject.name,
            _described(row.flow),
            f"{row.middle('per_second'):,.0f}",
            f"{row.per_cpu_second:,.0f}",
            f"{1e6 / row.per_cpu_second:.2f}",
            _milliseconds(row.middle("p50")),
            _milliseconds(row.middle("p99")),
            "" if memory is None else f"{memory / 1024:.0f}",
            row.received,
            style="bold" if row.subject.is_gateway else "",
        )
    return table


def _ratios(rows: Sequence[Row]) -> Table | None:
    """The gateway's deliveries for a CPU second as multiples of each peer's; None where there is nothing to compare."""
    ours = [row for row in rows if row.subject.is_gateway]
    peers = [row for row in rows if not row.subject.is_gateway]
    if not ours or not peers:
        return None
    table = Table(
        title="Deliveries per CPU second, the gateway against", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    table.add_column("", no_wrap=True)
    for row in ours:
        table.add_column(f"gateway at\n{_described(row.flow)}", justify="right", no_wrap=True)
    for peer in peers:
        multiples = [row.per_cpu_second / peer.per_cpu_second for row in ours]
        table.add_row(f"{peer.subject.name} at {_described(peer.flow)}", *(f"{multiple:.1f} times" for multiple in multiples))
    return table


def _described(flow: Flow) -> str:
    return f"{flow.rate:,g} × {flow.burst}"


def _medians(row: Row) -> dict[str, object]:
    names = ("per_second", "cpu_per_delivery", "memory_per_client", "p50", "p99", "least", "most", "expected")
    return {
        "subject": row.subject.name,
        "transport": row.subject.transport,
        "rate": row.flow.rate,
        "burst": row.flow.burst,
        "deliveries_per_cpu_second": row.per_cpu_second,
        **{name: row.middle(name) for name in names},
    }


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f}"
