"""OANDA's v20 API: streamed prices, polled prices and candles."""
