"""What is settled once for all of a run, in a file that only its first writer makes: the types of its infos.

The hub settles it, and its memory is gone when it is killed. A producer that came after that would have other columns
than those before it, and its rows would be refused. The same holds of a run that is resumed: so the file is synced, and
where it is damaged all the same, the columns of the parts say what was settled.
"""

from __future__ import annotations

import secrets
from pathlib import Path

import pyarrow as pa

from rolltape.schema.errors import CorruptRecording, LakeNotFound
from rolltape.storage.files import FileOps, storage_errors
from rolltape.storage.layout import RunFolder, list_parts
from rolltape.storage.part_files import open_part, part_errors

Types = dict[str, pa.DataType]


def settle(path: Path, proposal: Types) -> Types:
    """The types that the file at `path` holds; where there is none, it is made and holds `proposal`.

    The file is an Arrow schema. It is linked to its name, which fails when the name is taken: of two hubs at the same
    moment both get the types of the first.

    Raises LakeNotFound, LakeNotWritable, DiskFull or StorageError.
    """
    files = FileOps()
    try:
        with storage_errors(files, path):
            _put(files, path, proposal, replace=False)
            if (held := _types_of(files.read(path))) is None:
                known = types_of_parts(RunFolder(path.parent))
                held = proposal if known is None else known
                _put(files, path, held, replace=True)
            return held
    except FileNotFoundError as error:
        raise LakeNotFound(f"The run's folder {path.parent} is gone: moved or deleted while recording.") from error


def types_of_parts(run: RunFolder) -> Types | None:
    """The typed infos of the newest part of steps that can be read; None where there is none."""
    for path in reversed(list_parts(run, "steps")):
        try:
            with part_errors(str(path)), open_part(str(path)) as file:
                schema = file.schema_arrow
        except (CorruptRecording, FileNotFoundError):
            continue  # an older one says the same
        at = schema.get_field_index("info")
        return {} if at < 0 else {field.name: field.type for field in schema.field(at).type}
    return None


def _put(files: FileOps, path: Path, types: Types, *, replace: bool) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        files.write(temporary, pa.schema(sorted(types.items())).serialize())
        files.sync(temporary)
        if replace:
            files.rename(temporary, path)
        else:
            files.link(temporary, path)
        files.sync(path.parent)
    except FileExistsError:
        pass  # settled before
    finally:
        temporary.unlink(missing_ok=True)


def _types_of(data: bytes) -> Types | None:
    """What a file says; None where it is damaged."""
    try:
        schema = pa.ipc.read_schema(pa.py_buffer(data))
    except (pa.ArrowException, OSError, ValueError):  # pyarrow's own, whatever it makes of the bytes
        return None
    return {field.name: field.type for field in schema}
