"""Alerts, and the price levels that raise them."""
