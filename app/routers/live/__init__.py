"""What is now: prices, the event streams, recent events, and publishing to them."""
