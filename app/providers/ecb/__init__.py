"""The European Central Bank: one reference rate a day."""
