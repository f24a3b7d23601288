"""Past alerts, and the price levels that raise alerts."""
