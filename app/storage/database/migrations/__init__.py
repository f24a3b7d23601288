"""How the tables came to be: one revision a file in ``versions``, applied in the order of ``down_revision``."""
