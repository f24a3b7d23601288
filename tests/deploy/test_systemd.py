"""The units for systemd: whole, hardened, and of commands that there are."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from app.config import Settings
from app.run.process import WRONG_SETTING
from tests.deploy.proxy import DEPLOY

FOLDER = DEPLOY / "systemd"

Unit = dict[str, dict[str, list[str]]]

ROLES = {
    "fx-alerts.service": "alerts",
    "fx-bridge.service": "bridge",
    "fx-feed.service": "feed",
    "fx-gateway@.service": "gateway --port %i",
    "fx-recorder.service": "recorder",
    "fx-scheduler.service": "scheduler",
}


def read(path: Path) -> Unit:
    """A unit file: its sections, their keys, and each key's values, in order. The syntax is that of systemd.syntax(7)."""
    unit: Unit = {}
    section: dict[str, list[str]] | None = None
    for line in path.read_text().splitlines():
        if not line.strip() or line[0] in "#;":
            continue
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = unit.setdefault(header[1], {})
            continue
        assert section is not None, f"{line!r} stands before any section"
        key, equals, value = line.partition("=")
        assert equals, f"{line!r} assigns nothing"
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]+", key), line
        section.setdefault(key, []).append(value)
    return unit


COMMON = read(FOLDER / "fx-.service.d" / "process.conf")

each_unit = pytest.mark.parametrize("name", ROLES)


def test_every_process_has_a_unit() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.service")) == sorted(ROLES)


@each_unit
def test_a_unit_starts_a_command_that_there_is_and_belongs_to_the_target(name: str, commands: frozenset[str]) -> None:
    unit = read(FOLDER / name)
    assert unit["Service"]["ExecStart"] == [f"/opt/fx-gateway/bin/fx-gateway {ROLES[name]}"]
    assert ROLES[name].split()[0] in commands
    assert unit["Install"] == {"WantedBy": ["fx-gateway.target"]}
    assert set(unit) == {"Unit", "Service", "Install"}
    assert (FOLDER / "fx-gateway.target").is_file()


@each_unit
def test_what_all_have_in_common_reaches_a_unit_and_is_not_changed_there(name: str) -> None:
    assert name.startswith("fx-")  # the folder fx-.service.d is for these
    unit = read(FOLDER / name)
    assert not (set(COMMON["Service"]) | set(COMMON["Unit"])) & (set(unit["Service"]) | set(unit["Unit"]))


def test_processes_are_hardened() -> None:
    service = COMMON["Service"]
    for key in (
        "DynamicUser", "LockPersonality", "NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectClock",
        "ProtectControlGroups", "ProtectHome", "ProtectHostname", "ProtectKernelLogs", "ProtectKernelModules",
        "ProtectKernelTunables", "RemoveIPC", "RestrictNamespaces", "RestrictRealtime", "RestrictSUIDSGID",
    ):  # fmt: skip
        assert service[key] == ["yes"], key
    assert service["ProtectSystem"] == ["strict"]
    assert service["CapabilityBoundingSet"] == [""]
    assert service["SystemCallFilter"][0] == "@system-service"


def test_a_process_is_started_again_after_a_fault_but_not_after_a_wrong_setting() -> None:
    service = COMMON["Service"]
    assert service["Restart"] == ["on-failure"]
    assert service["RestartPreventExitStatus"] == [str(WRONG_SETTING)]
    assert COMMON["Unit"]["StartLimitIntervalSec"] == ["0"]


def test_a_process_is_given_time_to_leave_and_settings_it_knows() -> None:
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    service = COMMON["Service"]
    assert float(service["TimeoutStopSec"][0]) >= 2 * settings.shutdown_timeout
    assert service["EnvironmentFile"] == ["/etc/fx-gateway/environment"]  # without a hyphen: a process without it must not start
    names = {word.partition("=")[0] for line in service["Environment"] for word in line.split()}
    assert names <= {name.upper() for name in Settings.model_fields} | {"PYTHONUNBUFFERED"}


def test_systemd_itself_finds_nothing_wrong(tmp_path: Path) -> None:
    systemd = shutil.which("systemd-analyze")
    if systemd is None:
        pytest.skip("systemd, whose own reading of the units this test compares, is not installed")
    units = shutil.copytree(FOLDER, tmp_path / "units")
    for path in units.glob("*.service"):
        path.write_text(path.read_text().replace("/opt/fx-gateway/bin/fx-gateway", "/bin/true"))
    files = [f"./{name.replace('@', '@5001')}" for name in [*ROLES, "fx-gateway.target"]]
    checked = subprocess.run([systemd, "verify", *files], cwd=units, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
