"""Server processes: one or several on a port, their private Valkey, signals and exit codes."""
