"""REST and the entrance to the event streams: one module per resource, errors to HTTP in one table."""
