"""The programs beside the gateway. Each runs as ``python -m jobs.NAME``."""
