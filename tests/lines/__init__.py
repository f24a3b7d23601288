"""A laboratory of lines: what clients on slow, lossy and vanished lines get from a real gateway, as a table.

``make lines`` runs it, ``python -m tests.lines --help`` explains its options. Each client has a line of its own:

- ``shape.py`` has the lines that are tried: their rate, delay, loss and stalls.
- ``namespace.py`` and ``netem.py`` make a line between two network namespaces with ``tc netem``, and where the kernel has none,
  ``tun.py`` carries each packet as that would. Both take the rights of root on Linux. Elsewhere ``proxy.py`` throttles a TCP
  connection. ``line.py`` chooses.
- ``clients.py`` and ``stock.py`` are the clients of each transport. They resume as clients do, and ``record.py`` keeps what they
  get.
- ``feed.py`` publishes prices and numbered alerts, ``gateway.py`` runs the gateways, ``laboratory.py`` all of it, and
  ``figures.py`` and ``table.py`` say what came of it. ``starved.py`` has the clients that lack a processor instead of a line.
"""
