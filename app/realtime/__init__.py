"""From one log to every client: events, the log, the last prices, subscriptions, the hub and its transports."""
