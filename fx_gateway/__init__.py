"""The command ``fx-gateway``, and what it shows in a terminal."""
