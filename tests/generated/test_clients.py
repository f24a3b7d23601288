"""Clients generated from the OpenAPI document call every operation of a gateway that has something to answer with."""

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.contract.furnished import TOKEN
from tests.generated.operations import UNNAMED, operations, unnamed
from tests.generated.tools import OPENAPI, PACKAGES, PROGRAMS, run, script

_REFUSED_TO_NOBODY = frozenset(
    {
        "get_all_prices", "get_all_volatility", "get_best_pairs", "get_health", "get_liveness", "get_readiness", "get_sessions",
    }
)  # fmt: skip
"""Operations that take nothing that could be wrong, or whose parameter no generated client lets be wrong."""


async def test_openapi_python_client_calls_every_operation(furnished_url: str, tmp_path: Path) -> None:
    tool = Path(sys.executable).with_name("openapi-python-client")
    generated = await run(
        tool, "generate", "--path", OPENAPI, "--meta", "none", "--output-path", tmp_path / "fx_gateway_client",
        "--config", PROGRAMS / "openapi-python-client.yaml", "--fail-on-warning", cwd=tmp_path,
    )  # fmt: skip
    assert "WARNING" not in generated
    program = shutil.copy(PROGRAMS / "python_client.py", tmp_path)
    await run(
        sys.executable, "-m", "mypy", "--config-file=", "--strict", "--ignore-missing-imports", "--follow-imports=silent",
        "--cache-dir", tmp_path / "cache", program, cwd=tmp_path,
    )  # fmt: skip
    environment = {"GATEWAY_URL": furnished_url, "GATEWAY_TOKEN": TOKEN, UNNAMED: unnamed("python_client.py")}
    _every_operation(await run(sys.executable, program, cwd=tmp_path, **environment))


async def test_openapi_typescript_and_openapi_fetch_call_every_operation(furnished_url: str, node: Path, tmp_path: Path) -> None:
    _furnish(tmp_path, "fetch_client.ts")
    generator = script("openapi-typescript", "bin/cli.js")
    # What has a default may be left out of a body: without the option the types would ask for it.
    await run(node, generator, OPENAPI, "--output", "schema.ts", "--default-non-nullable=false", cwd=tmp_path)
    _every_operation(await _compiled_and_run(node, tmp_path, "fetch_client", furnished_url))


async def test_hey_api_calls_every_operation(furnished_url: str, node: Path, tmp_path: Path) -> None:
    _furnish(tmp_path, "hey_client.ts", "openapi-ts.config.mjs")
    await run(node, script("@hey-api/openapi-ts", "bin/run.js"), cwd=tmp_path, OPENAPI_FILE=str(OPENAPI))
    _every_operation(await _compiled_and_run(node, tmp_path, "hey_client", furnished_url), refusals_of_streams=False)


def test_an_operation_that_no_client_calls_is_noticed() -> None:
    with pytest.raises(AssertionError, match="does not call"):
        _every_operation(json.dumps([{"method": "GET", "path": "/stream", "status": 200, "type": "text/event-stream"}]))


def _furnish(folder: Path, *programs: str) -> None:
    """Put a TypeScript project into a folder, which finds the installed packages."""
    for name in ("checking.ts", "tsconfig.json", *programs):
        shutil.copy(PROGRAMS / name, folder)
    (folder / "package.json").write_text('{"type": "module", "private": true}')
    (folder / "node_modules").symlink_to(PACKAGES)


async def _compiled_and_run(node: Path, folder: Path, program: str, url: str) -> str:
    await run(node, script("typescript", "bin/tsc"), "--project", folder, cwd=folder)
    environment = {"GATEWAY_URL": url, "GATEWAY_TOKEN": TOKEN, UNNAMED: unnamed(f"{program}.ts")}
    return await run(node, folder / "built" / f"{program}.js", cwd=folder, **environment)


def _every_operation(printed: str, *, refusals_of_streams: bool = True) -> None:
    """Fail unless a client's notes hold an answer of every operation, and a problem where one can be had."""
    asked: Sequence[Mapping[str, Any]] = json.loads(printed.splitlines()[-1])
    answered = {_operation(each) for each in asked if each["status"] < 300}
    refused = {_operation(each) for each in asked if each["type"] == "application/problem+json"}
    names = set(operations().values())
    assert sorted(names - answered) == [], "operations that the client does not call"
    streams = set() if refusals_of_streams else {"stream_pair", "stream_pairs"}
    called_alike = {each["id"] for each in json.loads(unnamed("python_client.py"))}
    assert sorted(names - refused - _REFUSED_TO_NOBODY - called_alike - streams) == [], "operations that are never refused"


def _operation(asked: Mapping[str, Any]) -> str:
    """The operation that a request was for; a path without parameters wins over one with."""
    fitting = [
        (path.count("{"), name)
        for (method, path), name in operations().items()
        if method == asked["method"].lower() and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), asked["path"])
    ]
    return min(fitting)[1]
