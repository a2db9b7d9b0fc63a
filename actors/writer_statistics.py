"""What a writer did, in numbers."""

from __future__ import annotations

from dataclasses import dataclass, field

from rolltape.storage.commits import CommitReport


@dataclass(slots=True)
class WriterStatistics:
    """What a writer did since it started. Bytes are of Parquet parts; seconds of commits are wall time."""

    writer_id: str = ""
    commits: int = 0
    fragments: int = 0
    commit_s: float = 0.0
    commit_high_s: float = 0.0
    commit_last_s: float = 0.0
    oldest_last_s: float = 0.0
    held_high_bytes: int = 0
    cpu_s: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)

    def add(self, report: CommitReport) -> None:
        """Count a commit."""
        self.commits += 1
        self.fragments += report.fragments
        self.commit_s += report.seconds
        self.commit_last_s, self.oldest_last_s = report.seconds, report.oldest_s
        self.commit_high_s = max(self.commit_high_s, report.seconds)
        for target, source in ((self.rows, report.rows), (self.bytes, report.bytes)):
            for table, value in source.items():
                target[table] = target.get(table, 0) + value
