"""What operators and their tools ask: health, metrics, caches, jobs, the operator page."""
