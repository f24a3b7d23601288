"""Shared parts of the endpoints: parameters, bodies, problem details, limits, tokens, origins."""
