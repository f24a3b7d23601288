"""The ordered log in Redis, and the keys and channels beside it."""
