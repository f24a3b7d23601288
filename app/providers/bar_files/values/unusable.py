"""Why a row cannot be used."""


class UnusableRow(Exception):
    """A row that cannot be used; the text is the reason, in words that are the same for every such row."""
