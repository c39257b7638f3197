"""A picture of columns of a table in a page: `tests.bench.bars_picture PAGE.md SECTION FILE.svg COLUMN...`.

A panel is a column, a row in it a server, and its bar the median, with a line from the least to the most.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.bench.picture import TEXT

NAMES, PANEL, GAP, ROW, HEAD = 124, 220, 16, 20, 28
OURS, THEIRS = "#2ea043", "#6e7781"

Values = tuple[float, float, float]
"""The median, the least and the most."""


def main() -> None:
    page, section, file, *columns = sys.argv[1:]
    rows = read(Path(page).read_text(), section)
    Path(file).write_text("\n".join(drawn(rows, columns)) + "\n")


def read(page: str, section: str) -> Mapping[str, Mapping[str, Values]]:
    """Return the numbers of a section's table, by name of the row and of the column."""
    text = page.partition(f"## {section}\n")[2].partition("\n## ")[0]
    lines = re.search(r"^ {3,}\S.*\n((?:  \S.+\n)+)", text, re.MULTILINE)
    assert lines is not None, f"the page has no table in {section}"
    head, *rows = lines[0].splitlines()
    starts = [each.start() for each in re.finditer(r"(?<=  )\S", head)]
    found = {}
    for row in rows:
        ends = [*starts[1:], len(row)]
        cells = [row[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        names = [head[start:end].strip() for start, end in zip(starts, [*starts[1:], None], strict=True)]
        found[row[: starts[0]].strip()] = {
            name: values for name, text in zip(names, cells, strict=True) if (values := _values(text))
        }
    return found


def _values(cell: str) -> Values | None:
    numbers = [float(each.replace(",", "")) for each in re.findall(r"\d[\d,.]*", cell)]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None


def drawn(rows: Mapping[str, Mapping[str, Values]], columns: Sequence[str]) -> Iterator[str]:
    """Yield the lines of an SVG document."""
    width, height = NAMES + (PANEL + GAP) * len(columns), HEAD + ROW * len(rows) + 4
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" font-family="system-ui,sans-serif" font-size="12" fill="{TEXT}">'
    )
    yield f"<title>{', '.join(columns)} of each server</title>"
    for number, name in enumerate(rows):
        yield f'<text x="{NAMES - 8}" y="{HEAD + ROW * number + 14}" text-anchor="end">{name}</text>'
    for number, column in enumerate(columns):
        yield from _panel(rows, column, NAMES + (PANEL + GAP) * number)
    yield "</svg>"


def _panel(rows: Mapping[str, Mapping[str, Values]], column: str, left: int) -> Iterator[str]:
    most = max(row[column][2] for row in rows.values() if column in row)
    yield f'<text x="{left}" y="16" font-weight="600">{column}</text>'
    for number, (name, row) in enumerate(rows.items()):
        top = HEAD + ROW * number
        if column not in row:
            yield f'<text x="{left}" y="{top + 14}">-</text>'
            continue
        middle, least, highest = (round(value / most * (PANEL - 56), 1) for value in row[column])
        colour = OURS if name.startswith("sockact") else THEIRS
        yield f'<rect x="{left}" y="{top + 3}" width="{middle}" height="13" fill="{colour}"/>'
        yield f'<path d="M{left + least} {top + 9.5}H{left + highest}" stroke="{TEXT}"/>'
        text = f"{row[column][0]:,.0f}" if most >= 100 else f"{row[column][0]:,.1f}"
        yield f'<text x="{left + highest + 4}" y="{top + 14}">{text}</text>'


if __name__ == "__main__":
    main()
