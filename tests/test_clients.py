import json
import subprocess
from pathlib import Path

_CLIENTS = Path(__file__).parent / "clients"


def test_node_has_the_clients_of_the_lock(node: Path) -> None:
    """Node runs, and finds both clients at the versions that package.json pins."""
    wanted = json.loads((_CLIENTS / "package.json").read_text())["dependencies"]
    for name, version in wanted.items():
        installed = json.loads((_CLIENTS / "node_modules" / name / "package.json").read_text())
        assert installed["version"] == version
    script = """
        import { io } from 'socket.io-client';
        import { EventSource } from 'eventsource';
        console.log(typeof io, typeof EventSource);
    """
    answer = subprocess.run(
        [node, "--input-type=module", "--eval", script], cwd=_CLIENTS, capture_output=True, text=True, check=True
    )
    assert answer.stdout.split() == ["function", "function"]


def test_the_lock_names_no_place_to_download_from() -> None:
    lock = json.loads((_CLIENTS / "package-lock.json").read_text())
    packages = [package for path, package in lock["packages"].items() if path]
    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages)
