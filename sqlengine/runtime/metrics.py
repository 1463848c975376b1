"""What is measured of one operator in one task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class OperatorMetrics:
    """Rows, batches and bytes given out; seconds (inputs included); peak bytes reserved; bytes and files spilled."""

    rows: int = 0
    batches: int = 0
    bytes: int = 0
    seconds: float = 0.0
    peak: int = 0
    spilled_bytes: int = 0
    spill_files: int = 0
