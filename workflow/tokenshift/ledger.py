"""What this process has written, and taken from outside the study: kept for its record (provenance.records)."""

from pathlib import Path
from typing import Any

written: list[Path] = []
sources: list[dict[str, Any]] = []
