"""`rolltape dashboard`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .options import Lake


def dashboard(
    ctx: typer.Context,
    folder: Annotated[
        Path | None, typer.Argument(metavar="[LAKE]", help="Folder that recordings are in.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Port to listen on; 0 for any.", show_default="8765, or any free one"),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines in where --host is not loopback.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A name that a proxy on this machine is reached by; may be repeated."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(envvar="ROLLTAPE_TOKEN", help="The token to ask for.", show_default="a new one"),
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    lake: Lake = Path("lake"),
) -> None:
    """Serve the page on a lake's recordings, also while they are written. Needs no Ray.

    It prints the address to open, which holds a token. Only this machine is let in; from elsewhere forward the port:
    ssh -L 8765:127.0.0.1:8765 HOST.

    Examples:

    rolltape dashboard lake

    rolltape dashboard --host 0.0.0.0 --allow-remote --port 8000
    """
    from rolltape.schema.errors import ConfigError, MissingExtra

    try:
        from rolltape.dashboards.app import create_app
        from rolltape.dashboards.auth import Access
        from rolltape.dashboards.server import DEFAULT_PORT, bound_socket, free_socket, server_of
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("rolltape"):
            raise
        raise MissingExtra(f"dashboard needs {error.name}: pip install 'rolltape[dashboard]'") from None
    from rolltape.actors.rerender import open_lake

    if folder is not None and str(ctx.get_parameter_source("lake")) == "ParameterSource.COMMANDLINE" and folder != lake:
        raise ConfigError(f"dashboard: one lake, got LAKE {folder} and --lake {lake}; leave one of them out")
    opened = open_lake(folder or lake)
    # Refused before the port is taken.
    Access.make(port or DEFAULT_PORT, host=host, token=token, allow_remote=allow_remote)
    listening = free_socket(host, DEFAULT_PORT) if port is None else bound_socket(host, port)
    with listening:
        access = Access.make(
            listening.getsockname()[1],
            host=host,
            token=token,
            allow_remote=allow_remote,
            names=tuple(allow_host or ()),
        )
        print(access.url(), flush=True)
        print(f"Serving {opened.path}; Ctrl-C ends it.", file=sys.stderr, flush=True)
        if open_browser:
            import webbrowser

            webbrowser.open(access.url())
        server_of(create_app(opened, access)).run(sockets=[listening])
