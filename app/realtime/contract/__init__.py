"""The contract: events and messages as publishers write them and clients see them."""
