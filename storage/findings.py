"""What an inspection of a recording found: findings by severity, and the report of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from .ledger import Account, Loss

Severity = Literal["damage", "loss", "note"]
"""`damage`: it is not as it was written. `loss`: rows are missing, which is declared. `note`: harmless."""

CLEAN: Final = 0
FAILED: Final = 1
LOSSY: Final = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        severity: how bad it is.
        code: one lower-case word for programs, such as `part_digest`.
        path: the file, relative to the run (to the lake where it belongs to no run); empty for none.
        text: what was expected and what was found.
        remedy: what to do, in words; empty for nothing.
    """

    severity: Severity
    code: str
    path: str
    text: str
    remedy: str = ""


@dataclass(slots=True)
class RunReport:
    """What the inspection of one run found.

    Attributes:
        status: of the run: running, completed, stopped, failed, crashed, or unreadable.
        findings: in the order in which they were found.
        losses: what the ledger declares.
        accounts: produced, durable and lost of every producer's life.
        parts, rows, bytes: existing parts that were checked, their rows by table, and their bytes on disk.
        seconds: how long it took.
        settled: what was declared by this inspection, because nobody had done so; empty for nothing.
    """

    run_id: str
    path: str
    status: str = "unreadable"
    findings: list[Finding] = field(default_factory=list)
    losses: list[Loss] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    parts: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    seconds: float = 0.0
    settled: str = ""

    def add(self, severity: Severity, code: str, path: str, text: str, remedy: str = "") -> None:
        """Note one finding."""
        self.findings.append(Finding(severity, code, path, text, remedy))

    def of(self, severity: Severity) -> list[Finding]:
        """The findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def verdict(self) -> str:
        """`failed` (damage), `lossy` (rows are missing, and it says which), or `clean`."""
        return "failed" if self.of("damage") else "lossy" if self.of("loss") else "clean"

    @property
    def exit_code(self) -> int:
        """0 clean, 3 lossy, 1 failed."""
        return {"clean": CLEAN, "lossy": LOSSY, "failed": FAILED}[self.verdict]

    def as_json(self) -> Mapping[str, Any]:
        """The report for programs."""
        return {
            "run_id": self.run_id,
            "path": self.path,
            "verdict": self.verdict,
            "status": self.status,
            "settled": self.settled,
            "parts": self.parts,
            "rows": self.rows,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "findings": [
                {"severity": f.severity, "code": f.code, "path": f.path, "text": f.text, "remedy": f.remedy}
                for f in self.findings
            ],
            "losses": [{"text": str(loss), **_of(loss)} for loss in self.losses],
            "accounts": [
                {
                    "producer": str(a.key),
                    "produced": a.produced,
                    "durable": a.durable,
                    "lost": a.lost,
                    "unknown": a.unknown,
                    "gone": a.gone,
                    "balanced": a.balanced,
                }
                for a in self.accounts
            ],
        }


def _of(loss: Loss) -> dict[str, Any]:
    names = ("table", "cause", "rows", "at_most", "first_fragment", "last_fragment", "first_step", "last_step", "file")
    return {"producer": None if loss.of is None else str(loss.of)} | {name: getattr(loss, name) for name in names}


def worst(codes: list[int]) -> int:
    """The exit code of several runs: failed before lossy before clean."""
    return FAILED if FAILED in codes else LOSSY if LOSSY in codes else CLEAN
