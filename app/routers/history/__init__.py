"""History and figures: candles, metrics, correlations, best pairs, and the sessions of the market."""
