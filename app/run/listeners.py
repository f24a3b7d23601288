"""The sockets that a server listens on: one for each address, and for each worker."""

import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack

from app.errors import ConfigurationError
from app.realtime.wire.watch import notice_vanished

BACKLOG = 4096
"""Connections that the kernel may keep waiting on each socket."""


def listen(hosts: Sequence[str], port: int, workers: int = 1) -> list[list[socket.socket]]:
    """Return a listening socket on each host for each of the workers, in this order: ``[[worker 1 on host 1, …], …]``.

    The workers' sockets on one address have their own connections (``SO_REUSEPORT``, see socket(7)). ``::`` takes IPv4 too,
    unless a host of IPv4 is listed. With port 0, all hosts have the free port of the first. Raises ConfigurationError if an
    address is not available, even if its owner shares it in the same way.
    """
    only_ipv6 = any(_family(host) == socket.AF_INET for host in hosts)
    with ExitStack() as opened:
        of_hosts = []
        for host in hosts:
            try:
                sockets = _bound(host.strip("[]"), port, workers, only_ipv6, opened)
            except OSError as error:
                raise ConfigurationError(f"cannot listen on {_in_url(host)}:{port}: {_reason(error)}") from None
            port = sockets[0].getsockname()[1]
            of_hosts.append(sockets)
        opened.pop_all()
    return [list(of_worker) for of_worker in zip(*of_hosts, strict=True)]


def urls_of(listeners: Sequence[socket.socket]) -> list[str]:
    """Return the URLs at which clients reach the listeners."""
    names = (listener.getsockname()[:2] for listener in listeners)
    return [f"http://{_in_url(host)}:{port}" for host, port in names]


def _bound(host: str, port: int, workers: int, only_ipv6: bool, opened: ExitStack) -> list[socket.socket]:
    listeners = [opened.enter_context(socket.socket(_family(host))) for _ in range(workers)]
    for listener in listeners:
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener is listeners[0]:
            # Allow sharing only after binding, so that an address which another program shares is refused.
            listener.bind((host, port))
            port = listener.getsockname()[1]
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, workers > 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind((host, port))
    for listener in listeners:
        notice_vanished(listener)
        listener.listen(BACKLOG)
    return listeners


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
