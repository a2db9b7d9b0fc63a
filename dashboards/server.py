"""Serving the application on a socket that is bound before anything else, so that its port is known."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from rolltape.schema.errors import ConfigError

DEFAULT_PORT = 8765


def bound_socket(host: str, port: int) -> socket.socket:
    """A listening socket.

    Args:
        host: the address.
        port: the port; 0 for any that is free.

    Raises:
        ConfigError: the port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(f"port: {port} is in use; leave --port out, or give another one.") from None
        raise ConfigError(f"host, port: cannot listen on {host}:{port}: {error.strerror or error}.") from None
    listening.listen(128)
    return listening


def free_socket(host: str, port: int) -> socket.socket:
    """A socket at `port`, or at any free port where that one is taken. Raises ConfigError."""
    try:
        return bound_socket(host, port)
    except ConfigError:
        return bound_socket(host, 0)


class QuietServer(uvicorn.Server):
    """A server that leaves the signals of its process alone: within an actor or a test the process is not its own."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def server_of(app: ASGIApp, *, signals: bool = True) -> uvicorn.Server:
    """A server for `app`: `await serve(sockets=[…])` in a loop, or `run(sockets=[…])`.

    Args:
        app: the application.
        signals: whether it ends on SIGINT and SIGTERM.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        lifespan="off",
        timeout_graceful_shutdown=2,
    )
    return (uvicorn.Server if signals else QuietServer)(config)
