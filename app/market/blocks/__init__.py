"""Bars by the thousand, as columns of whole numbers."""
