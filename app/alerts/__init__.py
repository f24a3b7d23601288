"""The rules that turn prices and measures into alerts, and how people are notified of them."""
