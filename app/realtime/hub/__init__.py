"""The hub: one reader of the log, and delivery to every client without waiting for any."""
