"""Alerts, alert states and price levels in the database."""
