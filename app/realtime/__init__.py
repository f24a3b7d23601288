"""From one log to every client: the contract, the log, the hub, the wire and the transports."""
