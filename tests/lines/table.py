"""The outcome as Markdown, and its place in the documentation."""

from collections.abc import Iterable, Sequence

from tests.lines.figures import Figures
from tests.lines.laboratory import BURST, Outcome
from tests.lines.line import Kind
from tests.lines.starved import Starved
from tests.project import PROJECT

PAGE = PROJECT / "docs" / "reliability.md"
BEGIN, END = "<!-- lines: make lines -->", "<!-- lines: end -->"

_MADE: dict[Kind, str] = {
    Kind.NETEM: "in network namespaces with `tc netem`",
    Kind.TUN: "in network namespaces, with every packet carried from one TUN device to another, as the kernel has no `tc netem`",
    Kind.PROXY: "with a throttling TCP proxy, as network namespaces are not allowed",
}


def markdown(outcome: Outcome, starved: Sequence[Starved]) -> str:
    """Return the tables."""
    plan = outcome.plan
    transports = list(dict.fromkeys(cell.transport for cell in outcome.cells))
    by_place = {(cell.line.name, cell.transport): cell for cell in outcome.cells}
    lines = list(dict.fromkeys(cell.line for cell in outcome.cells))
    parts = [
        f"{plan.rate:g} prices a second of 20 pairs for {plan.seconds:g} s, and after a pause of {plan.pause:g} s for "
        f"{plan.seconds / 3:.0f} s more, "
        f"with an alert every 2 s; lines made {_MADE[outcome.kind]}. "
        "A cell has cut-offs · the median and the greatest age of a price on arrival, without the line's own delay and stalls · "
        "alerts lost. *untold*: prices are missing of which the client was told nothing; *twice*: an event came twice or out of "
        f"order. For want of a processor the clients themselves were up to {outcome.lag * 1000:.0f} ms late."
    ]
    if ordinary := [line for line in lines if not line.vanishes]:
        rows = [[line.name, *(_cell(by_place.get((line.name, name))) for name in transports)] for line in ordinary]
        parts.append(_table(["line", *transports], rows))
    if gone := [line for line in lines if line.vanishes]:
        known = [name for name in transports if (gone[0].name, name) in by_place]
        rows = [[line.name, *(_freed(by_place[line.name, name]) for name in known)] for line in gone]
        parts.append("Seconds until the place of a client that vanished was free:")
        parts.append(_table(["line", *known], rows))
    if outcome.bursts:
        parts.append(f"Of {BURST} prices published together, clients that read at once got:")
        parts.append(_table([b.transport for b in outcome.bursts], [[str(b.received) for b in outcome.bursts]]))
    if starved:
        parts.append(busy_loops(starved))
    return "\n\n".join(parts)


def busy_loops(starved: Sequence[Starved]) -> str:
    """Return the table of clients that lack a processor."""
    rows = [[s.client, f"{s.published:,}", f"{s.received:,}", f"{s.conflated:,}", str(s.cut_offs)] for s in starved]
    return "Beside six busy loops:\n\n" + _table(["client", "prices published", "received", "merged", "cut-offs"], rows)


def write(text: str) -> None:
    """Put the tables into their place in the documentation."""
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert begin, f"{PAGE} has no {BEGIN}"
    assert end, f"{PAGE} has no {END}"
    PAGE.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def _cell(found: Figures | None) -> str:
    if found is None:
        return ""
    ages = "none came" if found.oldest is None else f"{found.median:.1f}, {found.oldest:.1f} s"
    words = [word for word, is_so in (("*untold*", found.untold), ("*twice*", found.repeats)) if is_so]
    return " ".join([f"{found.cut_offs} · {ages} · {found.alerts_lost}", *words])


def _freed(found: Figures) -> str:
    return "never" if found.freed is None else f"{found.freed:.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])
