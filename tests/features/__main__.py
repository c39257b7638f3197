"""Writes docs/coming-from.md, and says which rows no test shows: `python -m tests.features`."""

from __future__ import annotations

from tests.features.document import DOCUMENT, document, without_test
from tests.features.rows import PENDING

DOCUMENT.parent.mkdir(exist_ok=True)
DOCUMENT.write_text(document())
for name in without_test():
    print(name, "pending" if name in PENDING else "has no test")
