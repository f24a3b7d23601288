"""The cost of a delivery: the gateway and its peers on the same log, with the same clients, measured side by side.

``python -m benchmarks`` runs every scenario and prints a table. Benchmarks neither pass nor fail.
"""
