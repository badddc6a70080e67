"""What is noted of a source, and how its progress is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Record = dict[str, Any]  # as the manifest has it
Tell = Callable[[str, int, int], None]  # what is being done, how much of it, of how much
