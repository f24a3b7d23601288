"""The fenced blocks of the documentation, and the shape of what they show."""

import re
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from tests.project import PROJECT

DOCS = PROJECT / "docs"

_FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
_NUMBER_OR_REST = re.compile(r"(-?\d+|…)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: where it stands, the word behind its fence, its text."""

    page: str
    line: int
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.kind})"


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a console block, and the lines that the page shows below it."""

    text: str
    shown: tuple[str, ...]


def pages() -> list[Path]:
    """Every page."""
    return sorted(DOCS.rglob("*.md"))


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(str(page.relative_to(DOCS)), text.count("\n", 0, fence.start()) + 1, fence[2].strip(), dedent(fence[3]))
        for fence in _FENCE.finditer(text)
    ]


def commands(block: Block) -> list[Command]:
    """The commands of a console block: what stands behind ``$``, and behind ``>`` where it goes on. The rest is shown."""
    found: list[tuple[list[str], list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif line.startswith("> ") and found and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            assert found, f"{block} shows something before any command"
            found[-1][1].append(line)
    return [Command("\n".join(lines), tuple(line for line in shown if line.strip())) for lines, shown in found]


def lacking(shown: tuple[str, ...], printed: list[str]) -> str | None:
    """The first shown line that does not come, in order, in what was printed; numbers may differ, ``…`` is anything."""
    rest = iter(printed)
    for line in shown:
        pattern = re.compile("".join(map(_expression, _NUMBER_OR_REST.split(line.strip()))))
        if line.strip() != "…" and not any(pattern.fullmatch(given.strip()) for given in rest):
            return line
    return None


def _expression(part: str) -> str:
    if part == "…":
        return ".*"
    return r"-?\d+" if re.fullmatch(r"-?\d+", part) else re.escape(part)
