"""The sources of prices, a package each. Each satisfies ``app.market.source.ProviderSource``."""
