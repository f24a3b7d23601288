"""The sources of prices. Each satisfies ``app.market.source.PriceSource``."""
