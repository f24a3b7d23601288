"""The rules that turn prices and measures into alerts, and the notifications of people."""
