"""Run programs over the specifications: generators, compilers, linters, and the generated clients."""

import asyncio
import os
from pathlib import Path
from subprocess import PIPE, STDOUT

from tests.node_packages import packages

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
OPENAPI = PROJECT / "openapi" / "openapi.json"
ASYNCAPI = PROJECT / "openapi" / "asyncapi.yaml"
PROGRAMS = HERE / "programs"
PACKAGES = HERE / "node_modules"

_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR")


async def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command and return its output, both streams. Raises AssertionError with the output if it fails."""
    inherited = {name: value for name, value in os.environ.items() if name in _INHERITED}
    process = await asyncio.create_subprocess_exec(
        *map(str, command), cwd=cwd, env={**inherited, "NO_COLOR": "1", **environment}, stdout=PIPE, stderr=STDOUT
    )
    try:
        async with asyncio.timeout(60):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = printed.decode()
    assert process.returncode == 0, f"{command[0]} ended with {process.returncode}:\n{text}"
    return text


def script(package: str, path: str) -> Path:
    """A script of an installed npm package; without the packages the test is skipped."""
    return packages("tests/generated") / package / path
