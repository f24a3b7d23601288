"""Commands of the documentation that cannot be run where tests run, each with the reason and with what is checked instead."""

import re
import shlex
from collections.abc import Callable
from typing import Any

import yaml

from fx_gateway.cli import cli
from tests.project import PROJECT

_DEPLOY = PROJECT / "deploy"


def reason(command: str) -> str | None:
    """Why a command is not run; None where it is run."""
    return next((why for start, why, _ in NOT_RUN if command.startswith(start)), None)


def check(command: str) -> None:
    """See that what a command names is there."""
    next(check for start, _, check in NOT_RUN if command.startswith(start))(command)


def _make(command: str) -> None:
    target, _, arguments = command.removeprefix("make ").partition(" ")
    assert re.search(rf"^\.PHONY:.*\b{target}\b", (PROJECT / "Makefile").read_text(), re.MULTILINE), f"make has no {target}"
    assert not arguments or re.fullmatch(r'ARGS="[^"]*"', arguments), arguments


def _compose(command: str) -> None:
    file: dict[str, Any] = yaml.safe_load((_DEPLOY / "compose.yaml").read_text())
    words = shlex.split(command.partition(" <")[0].partition(" >")[0].partition("#")[0])[2:]
    action = words.pop(0)
    assert action in {"up", "build", "ps", "logs", "exec", "stop", "start"}, action
    named = [word for word in words if not word.startswith("-")]
    named = [word for word in named if word != "1h"]
    services = named[:1] if action == "exec" else named
    assert set(services) <= set(file["services"]), services


def _systemd(command: str) -> None:
    for unit in re.findall(r"\bfx-[\w-]+(?:@\d*)?(?:\.target)?", command):
        name = re.sub(r"@\d*", "@", unit)
        assert list((_DEPLOY / "systemd").glob(f"{name}" if name.endswith(".target") else f"{name}.service")), unit


def _paths(command: str) -> None:
    for path in re.findall(r"(?<=\s)(?:deploy/[\w./-]+|requirements\.lock|\.env\.example)", command):
        assert (PROJECT / path).exists() or (_DEPLOY / path).exists(), path


def _clone(command: str) -> None:
    assert re.fullmatch(r"git clone \S+ fx-gateway", command), command


def _fx_gateway(command: str) -> None:
    known = {registered.name or registered.callback.__name__ for registered in cli.registered_commands if registered.callback}
    match = re.search(r"fx-gateway (\w+)", command)
    assert match is not None, command
    assert match[1] in known, command


def _nothing(command: str) -> None:
    """Nothing of the gateway is named."""


NOT_RUN: list[tuple[str, str, Callable[[str], None]]] = [
    ("git clone ", "its address is the reader's", _clone),
    ("cd ", "goes with the command before", _nothing),
    ("make ", "installs packages from the network", _make),
    ("pip install ", "installs packages from the network", _nothing),
    ("npm install ", "installs packages from the network", _nothing),
    ("docker compose ", "there is no Docker where tests run", _compose),
    ("docker build ", "there is no Docker where tests run", _paths),
    ("cp .env.example ", "goes with docker compose", _paths),
    ("python3 -m venv /opt", "writes outside the test's folder", _nothing),
    ("/opt/fx-gateway/bin/pip ", "installs packages from the network", _paths),
    ("install -", "writes outside the test's folder", _nothing),
    ("cp -r deploy/", "writes outside the test's folder", _paths),
    ("systemctl ", "there is no systemd where tests run", _systemd),
    ("journalctl ", "there is no systemd where tests run", _nothing),
    ("fx-gateway backfill ", "asks a source on the network", _fx_gateway),
    ("OANDA_TOKEN_FILE=", "asks a source on the network", _fx_gateway),
]
"""The beginning of a command, why it is not run, and what is checked."""
