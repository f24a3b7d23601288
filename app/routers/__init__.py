"""The endpoints: one module per resource. What they share is in ``app.http``."""
