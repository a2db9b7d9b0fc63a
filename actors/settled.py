"""What is settled once for all of a run, in a file that only its first writer makes: the types of its infos.

The hub settles it, and its memory is gone when it is killed. A producer that came after that would have other columns
than those before it, and its rows would be refused.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import pyarrow as pa

from rolltape.schema.errors import LakeNotFound
from rolltape.storage.files import FileOps, storage_errors


def settle(path: Path, proposal: dict[str, pa.DataType]) -> dict[str, pa.DataType]:
    """The types that the file at `path` holds; where there is none, it is made and holds `proposal`.

    The file is an Arrow schema. It is linked to its name, which fails when the name is taken: of two hubs at the same
    moment both get the types of the first. Not synced: what was settled matters only as long as the run goes on.

    Raises LakeNotFound, LakeNotWritable, DiskFull or StorageError.
    """
    files = FileOps()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        with storage_errors(files, path):
            try:
                files.write(temporary, pa.schema(sorted(proposal.items())).serialize())
                files.link(temporary, path)
            except FileExistsError:
                pass  # settled before
            finally:
                temporary.unlink(missing_ok=True)
            schema = pa.ipc.read_schema(pa.py_buffer(files.read(path)))
    except FileNotFoundError as error:
        raise LakeNotFound(f"The run's folder {path.parent} is gone: moved or deleted while recording.") from error
    return {field.name: field.type for field in schema}
