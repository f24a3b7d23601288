"""What a delivery costs: the gateway and other servers on the same log, with the same clients, measured in the same minutes.

``python -m benchmarks`` runs everything and prints a table. Nothing here passes or fails.
"""
