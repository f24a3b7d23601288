"""What the endpoints share: parameters, errors as problem documents, limits, tokens, origins."""
