"""The keeper of obligations: a process that notes what producers send and what was acknowledged, in a file of its own.

It imports nothing of Rolltape. Notes come as datagrams on a Unix socket, which the kernel keeps when their sender is killed
in the next instant. An acknowledgement is fsynced before the next note is read.

    {"sent": [producer, incarnation, sequence], "rows": 17, "digest": "…"}
    {"acked": [producer, incarnation, sequence]}
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

Fragment = tuple[int, int, int]


def keep(socket_path: str, file_path: str) -> None:
    """Note what comes until the process is killed."""
    notes = os.open(file_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as inbox:
        inbox.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        inbox.bind(socket_path)
        while True:
            data = inbox.recv(65536)
            os.write(notes, data + b"\n")
            if b'"acked"' in data:
                os.fsync(notes)


@dataclass
class Notes:
    """What was noted so far: digests of what was sent, and what was acknowledged, in that order."""

    sent: dict[Fragment, str] = field(default_factory=dict)
    acked: list[Fragment] = field(default_factory=list)

    def add(self, line: bytes) -> None:
        note = json.loads(line)
        if "sent" in note:
            key: Fragment = tuple(note["sent"])
            assert self.sent.setdefault(key, note["digest"]) == note["digest"], f"{key} was sent with other rows"
        else:
            self.acked.append(tuple(note["acked"]))

    @property
    def unacknowledged(self) -> set[Fragment]:
        return set(self.sent) - set(self.acked)


class KeeperProcess:
    """A keeper for one run after the other: `path` says where the notes of a run go."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.socket_path, self.path = folder / "keeper.socket", folder / "notes.jsonl"
        self._process = subprocess.Popen([sys.executable, __file__, str(self.socket_path), str(self.path)])
        deadline = time.monotonic() + 20
        while not self.socket_path.exists():
            assert time.monotonic() < deadline and self._process.poll() is None, "the keeper did not start"
            time.sleep(0.01)  # between two looks
        self._notes, self._read = Notes(), 0

    def notes(self) -> Notes:
        """All that was noted by now; what was read before is not read again."""
        if self.path.exists():
            with self.path.open("rb") as file:
                file.seek(self._read)
                *lines, rest = file.read().split(b"\n")
                self._read = file.tell() - len(rest)
            for line in lines:
                self._notes.add(line)
        return self._notes

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


if __name__ == "__main__":
    keep(*sys.argv[1:])
