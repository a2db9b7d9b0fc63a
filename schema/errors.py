"""Every error that Rolltape raises on purpose.

RolltapeError
├── ConfigError             a key or value of the configuration that is not allowed
├── SchemaError
│   ├── UnsupportedSpace    not a Gymnasium space, or one that cannot be stored exactly
│   ├── SchemaMismatch      a value does not fit its space or its column
│   └── VersionRefused      a producer speaks no payload version that the run takes
├── EnvError
│   ├── UnknownEnvironment  no such id, or its package is missing
│   ├── MissingExtra        a package is needed: says which `pip install`
│   ├── BadPolicy           a policy that cannot be loaded or called
│   └── AdapterError        an environment adapter that cannot be loaded or chosen, or breaks its contract
├── StorageError
│   ├── LakeNotFound        no lake or run there
│   ├── LakeNotWritable     permission, read-only
│   ├── DiskFull            no room
│   ├── CorruptRecording    a marker or part whose content is not what was written
│   ├── UnreadableNow       a part that cannot be read at the moment, whatever its content is
│   ├── UnsupportedFormat   a recording in a newer format, or in an older one that was not migrated
│   └── Fenced              this writer was replaced and must stop
├── ClusterError            Ray cannot be reached or started
├── ReplayFailed            an episode cannot be replayed, or its replay differs
└── RunFailed
    ├── WriterStalled       nothing was committed for too long
    └── CountMismatch       produced is not durable plus declared lost

A message says what happened, what was expected and found, which, and what to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class RolltapeError(Exception):
    """Base of all errors that Rolltape raises on purpose."""


class ConfigWarning(UserWarning):
    """A value of the configuration is allowed and costs something: the message says what."""


class ConfigError(RolltapeError, ValueError):
    """A key or value of the configuration is not allowed; the message has the path, the value and the range."""

    @classmethod
    def from_pydantic(cls, error: ValidationError) -> ConfigError:
        """One line a problem: `path: what is wrong (got value)`."""
        lines = []
        for item in error.errors(include_url=False):
            path = ".".join(str(part) for part in item["loc"]) or "configuration"
            message = item["msg"].removeprefix("Value error, ")
            if item["type"] == "extra_forbidden":
                message = "unknown key"
            got = "" if isinstance(item["input"], dict) else f" (got {item['input']!r})"
            lines.append(f"{path}: {message}{got}")
        return cls("\n".join(lines))


class SchemaError(RolltapeError):
    """What is to be recorded does not fit the contract."""


class UnsupportedSpace(SchemaError, TypeError):
    """Not a Gymnasium space, or one that cannot be stored exactly."""


class SchemaMismatch(SchemaError, ValueError):
    """A value does not fit its space or column: names the path, what was expected and what was found."""


class VersionRefused(SchemaError):
    """A producer speaks no payload version that the run takes: names both, and what to do."""


class EnvError(RolltapeError):
    """An environment or a policy cannot be made or used."""


class UnknownEnvironment(EnvError):
    """No such environment id; the message names near ones or the missing package."""


class MissingExtra(EnvError, ImportError):
    """A package is not installed; the message says which `pip install` brings it."""


class BadPolicy(EnvError):
    """A policy cannot be loaded or does not return actions of the action space."""


class AdapterError(EnvError):
    """An environment adapter cannot be loaded or chosen, or breaks its contract: names it and what to do."""


class StorageError(RolltapeError):
    """A lake cannot be read or written."""


class LakeNotFound(StorageError, FileNotFoundError):
    """There is no lake or no such run at that path."""


class LakeNotWritable(StorageError, PermissionError):
    """The lake's folder cannot be written: names the path and the reason."""


class DiskFull(StorageError):
    """No room: names the path, what was needed and what is free. What was acknowledged is safe."""


class CorruptRecording(StorageError):
    """A marker or part cannot be read because of its content: names the file."""


class UnreadableNow(StorageError):
    """A part cannot be read at the moment (too many open files, no memory, a disk that does not answer), which says
    nothing of its content: names the file."""


class UnsupportedFormat(StorageError):
    """A recording in another format than this version reads: says which, and what to do."""


class Fenced(StorageError):
    """This writer was replaced by a newer one and may not publish any more."""


class ClusterError(RolltapeError):
    """Ray cannot be reached or started."""


class ReplayFailed(RolltapeError):
    """An episode cannot be replayed, or its replay differs from the recording; the message says why or where."""


class RunFailed(RolltapeError):
    """A run cannot go on. What was acknowledged is safe and readable."""


class WriterStalled(RunFailed):
    """The writer committed nothing for longer than `budget.give_up_s`."""


class CountMismatch(RunFailed):
    """At the end of the run produced differs from durable plus declared lost."""
