"""Where the gateway of a run is: `live.json` in the run's folder, written and read here."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from rolltape.storage.layout import RunFolder

from .wire import PROTOCOL


@dataclass(frozen=True, slots=True)
class LiveAddress:
    """A gateway.

    Attributes:
        run_id: the run that it serves.
        host, port: where it listens; an address that this process reaches.
        token: what a viewer has to show.
    """

    run_id: str
    host: str
    port: int
    token: str

    def socket(self, viewer: str = "") -> str:
        """Address of the WebSocket, without the token."""
        query = {"run": self.run_id} | ({"viewer": viewer} if viewer else {})
        return f"ws://{self.host}:{self.port}/api/live?{urlencode(query)}"

    @property
    def headers(self) -> dict[str, str]:
        """What a program shows to be let in."""
        return {"Authorization": f"Bearer {self.token}"}


def live_file(folder: RunFolder) -> Path:
    """Where the address of a run's gateway stands, while there is one."""
    return folder.path / "live.json"


def write_live(path: Path, said: Mapping[str, Any]) -> None:
    """Write `live.json`, for its owner alone, whole or not at all.

    The name of what is unfinished is hidden: who is killed here leaves something that verify passes over and vacuum
    deletes.
    """
    temporary = path.with_name(f".{path.name}.partial")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(dict(said), file)
    temporary.replace(path)


def live_address(folder: RunFolder) -> LiveAddress | str:
    """The gateway of a run, or why there is none that this process could reach, in words."""
    try:
        said = json.loads(live_file(folder).read_text(encoding="utf-8"))
        host, port, token = str(said["host"]), int(said["port"]), str(said["token"])
    except FileNotFoundError:
        return "nobody serves it live"
    except PermissionError:
        return "it is served live to another user"
    except (OSError, ValueError, KeyError, TypeError):
        return "its live.json cannot be read"
    if said.get("protocol") != PROTOCOL:
        return f"its gateway speaks version {said.get('protocol')} of the live wire, this one {PROTOCOL}"
    node = str(said.get("node") or "")
    if host in ("127.0.0.1", "localhost", "::1") and node and node != socket.gethostname():
        return f"it is served on {node}, to that machine alone"
    host = {"0.0.0.0": node or "127.0.0.1", "::": node or "::1"}.get(host, host)
    return LiveAddress(folder.run_id, f"[{host}]" if ":" in host else host, port, token)


def live_page(folder: RunFolder) -> str | None:
    """The address, with its token, at which a run of this machine is live; None where this user may not know it."""
    try:
        said = json.loads(live_file(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    url = said.get("url") if isinstance(said, dict) and said.get("node") == socket.gethostname() else None
    return url if isinstance(url, str) and url.startswith("http://") else None
