"""When the market is open, and when a trading day ends."""
