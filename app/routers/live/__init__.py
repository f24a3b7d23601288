"""Live data: prices, event streams, recent events, and publishing."""
