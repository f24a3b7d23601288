"""The pages that people look at, and the description of the API."""
