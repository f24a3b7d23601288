"""Events and messages: what publishers write and what clients see."""
