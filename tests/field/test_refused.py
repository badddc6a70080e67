"""The page of what is refused speaks in the words of the code."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_has_the_words_of_the_code() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "vitm").rglob("*.py"))
    rows = re.findall(r"^\| .*? \| `(.*?)` \|", (ROOT / "docs/guide/refused.md").read_text(), re.MULTILINE)
    assert len(rows) > 25
    assert [words for words in rows if words not in code] == []
