"""Past bars: imported from files, aggregated from shorter bars, or simulated for a demonstration."""
