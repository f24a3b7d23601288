"""What was: candles, measures, correlations, best pairs, and the sessions of the market."""
