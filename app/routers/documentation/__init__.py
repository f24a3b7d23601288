"""The pages for browsers, and the OpenAPI document."""
