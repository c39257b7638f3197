"""Makes the shipped files anew: `python -m sockact.units units`."""

from __future__ import annotations

import sys
from pathlib import Path

from sockact.units.writing import shipped

if __name__ == "__main__":
    for name, content in shipped().items():
        Path(sys.argv[1], name).write_text(content, encoding="utf-8")
