"""For operators and their tools: health, Prometheus metrics, Redis, jobs, the operator page."""
