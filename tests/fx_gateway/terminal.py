"""A terminal whose text is kept."""

import io

from rich.console import Console


class Terminal(Console):
    """A terminal of 200 columns whose text is kept."""

    def __init__(self, *, interactive: bool = False) -> None:
        self._text = io.StringIO()
        super().__init__(file=self._text, width=200, force_terminal=interactive, color_system=None)

    @property
    def lines(self) -> list[str]:
        """The lines so far, as they are read."""
        return [" ".join(line.split()) for line in self._text.getvalue().splitlines() if line.strip()]
