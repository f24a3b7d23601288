"""All layouts, in the order in which they are tried. A new one is added here."""

import re
from collections.abc import Callable, Sequence

from app.providers.bar_files.layouts.headed import recognise_headed
from app.providers.bar_files.layouts.layout import Head, Layout
from app.providers.bar_files.layouts.positional import recognise_positional

LAYOUTS: Sequence[Callable[[Head], Layout | None]] = (recognise_headed, recognise_positional)

_LONGEST_SHOWN = 60
_NUMBERS = re.compile(r"[\d\s.,:;/+-]+")


def recognise(head: Head) -> Layout | None:
    """Return the layout of a file, or None if it is unknown."""
    return next((layout for recogniser in LAYOUTS if (layout := recogniser(head)) is not None), None)


def why_not(head: Head) -> str:
    """Explain why the first line is neither a known header nor a known row, and what to give."""
    if not head.filled:
        return "it is empty"
    number, line = head.filled[0]
    shown = line.strip()[:_LONGEST_SHOWN]
    if _NUMBERS.fullmatch(shown):
        return (
            f"line {number} is {shown!r}, a row of no layout that is known without a header; "
            "give the file a header such as time,open,high,low,close"
            + ("" if head.midnight else ", or its day at the start of its name where rows hold milliseconds since midnight")
        )
    return f"line {number} is {shown!r}, which names no column of times with one of open, high, low and close, or of bid and ask"
