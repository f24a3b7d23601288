"""The benchmarks: the load counts exactly, the report computes right, and what is missing is said in words."""

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from app.market.pair import DEFAULT_PAIRS
from benchmarks import subjects
from benchmarks.__main__ import carry_out, main
from benchmarks.flow import Flow
from benchmarks.machine import Machine
from benchmarks.outcome import Outcome
from benchmarks.processes import Cores
from benchmarks.report import Missing, Report
from benchmarks.scenarios import KEYS, SCENARIOS
from benchmarks.scenarios.flows import Flows
from benchmarks.scenarios.subsets import random_subsets
from benchmarks.stand import Bench, stand
from benchmarks.subjects import (
    COMPACT_GZIP_SSE,
    COMPACT_PLAIN,
    GATEWAY_PLAIN,
    GATEWAY_WEBSOCKET,
    NCHAN_WEBSOCKET,
    Subject,
    prepare,
)

MACHINE = Machine("a processor", 2, 2**30, "Linux 6", "CPython 3.11", 0.1, "1.0", {"uvicorn": "0.1", "nginx": ""})
BURSTS = Flows("bursts", "bursts", 500, 20, {GATEWAY_WEBSOCKET: (2000,), NCHAN_WEBSOCKET: (200,)})


def report() -> Report:
    ours = Outcome(
        "bursts",
        GATEWAY_WEBSOCKET,
        "fast",
        1000,
        1000,
        took=2.0,
        cpu=0.001,
        p50=0.01,
        p99=0.02,
        memory=10240.0,
        rss=2**20,
        received=80_000,
    )
    theirs = Outcome("bursts", NCHAN_WEBSOCKET, "slow", 90, 100, took=1.0, cpu=0.0009, figures={"s old": 1.5}, troubles=("late",))
    missing = Missing("bursts", subjects.NODE, "there is no Node")
    return Report(MACHINE, Cores(), [BURSTS], [ours, theirs], [missing])


def test_a_row_shows_rates_costs_and_what_was_delivered() -> None:
    assert report().rows(BURSTS) == [
        ["FX Gateway", "fast", "500", "1.00", "", "10.0", "20.0", "80", "10.0", "1", "all 1,000"],
        ["nchan in nginx", "slow", "90", "10.00", "10.00", "", "", "", "", "", "90 of 100"],
    ]


def test_the_notes_hold_figures_troubles_and_what_is_missing() -> None:
    assert report().notes(BURSTS) == [
        "nchan in nginx, slow: s old 1.50",
        "nchan in nginx, slow: late.",
        "Not run: bursts, Socket.IO on Node, websocket: there is no Node",
    ]


def test_the_markdown_has_a_table_row_for_each_outcome_and_the_machine() -> None:
    text = report().markdown()
    assert "| nchan in nginx | slow | 90 | 10.00 | 10.00 |" in text
    assert "a processor, 2 cores, 1.0 GiB" in text
    assert "nginx" not in text.rpartition("FX Gateway 1.0")[2]


def test_the_json_holds_every_outcome_with_its_cost(tmp_path: Path) -> None:
    report().save(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert [outcome["per_cpu_second"] for outcome in saved["outcomes"]] == [pytest.approx(1e6), pytest.approx(1e5)]
    assert saved["missing"][0]["reason"] == "there is no Node"


def test_a_flow_counts_its_events() -> None:
    flow = Flow(1000, 20, 2)
    assert (flow.bursts, flow.events, flow.lasts) == (100, 2000, 2.0)


def test_every_scenario_is_listed() -> None:
    command = Typer()
    command.command()(main)
    listed = CliRunner().invoke(command, ["--list"])
    assert [line.partition(":")[0] for line in listed.output.splitlines() if ":" in line] == list(KEYS)
    assert len(set(KEYS)) == len(SCENARIOS) == 11


def test_random_subsets_are_the_same_each_time_and_never_empty() -> None:
    subsets = random_subsets(50)
    assert subsets == random_subsets(50)
    assert all(subset and set(subset) <= set(DEFAULT_PAIRS) for subset in subsets)
    assert len({tuple(subset) for subset in subsets}) > 40


async def test_a_peer_that_is_missing_is_reported_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set(await prepare(["nchan", "floor"], tmp_path)) == {"nchan", "floor"}
    found = await carry_out([BURSTS], ["nchan"], True, Console(file=StringIO()))
    assert not found.outcomes
    [missing] = found.missing
    assert "no nginx on PATH" in str(missing)


@pytest.mark.parametrize("subject", [GATEWAY_WEBSOCKET, GATEWAY_PLAIN], ids=["websocket", "plain"])
async def test_the_load_counts_every_delivery_of_a_real_gateway(subject: Subject, tmp_path: Path) -> None:
    flow = Flow(100, 20, 1)
    pairs = [list(DEFAULT_PAIRS[: number + 1]) for number in range(10)]
    async with stand(subject, Bench(Cores(), tmp_path), 20) as running:
        await running.fill(10)
        whole = await running.run("bursts", "all pairs", flow, 10, None)
        await running.load.ask("disconnect")
        await running.load.ask("connect", clients=10, pairs=pairs)
        part = await running.run("bursts", "some pairs", flow, 10, None)
    assert whole.delivered == whole.expected == flow.events * 10
    assert part.delivered == part.expected == flow.bursts * sum(range(1, 11))
    assert whole.cpu is not None
    assert whole.cpu > 0
    assert whole.p99 is not None
    assert whole.p99 > 0


@pytest.mark.parametrize(("subject", "most_bytes"), [(COMPACT_PLAIN, 80), (COMPACT_GZIP_SSE, 40)])
async def test_the_load_counts_prices_and_bytes_in_every_form(subject: Subject, most_bytes: int, tmp_path: Path) -> None:
    async with stand(subject, Bench(Cores(), tmp_path), 5) as running:
        await running.fill(5)
        counted = await running.run("sse", "all pairs", Flow(200, 20, 0.5), 5, None)
    assert counted.delivered == counted.expected == 500
    assert counted.bytes_per_delivery is not None
    assert 10 < counted.bytes_per_delivery < most_bytes
    assert counted.p99 is not None
    assert 0 < counted.p99 < 20
