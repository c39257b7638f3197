"""The picture out of a page of `sockact prove`, for the docs: `tests.bench.page PAGE.html FILE.svg`."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main() -> None:
    page, file = map(Path, sys.argv[1:])
    text = page.read_text()
    form = r"<style>\n(.*?)</style>.*<figure.*?<svg (viewBox=\"0 0 (\d+) (\d+)\".*?)</svg>\n</div>"
    found = re.search(form, text, re.DOTALL)
    assert found is not None, f"{page} is no page of sockact probe"
    style, picture, width, height = found.groups()
    font = 'font-size="12" font-family="system-ui,sans-serif"'
    back = f'<rect width="{width}" height="{height}" fill="var(--back)"/>'
    head, rest = picture.split(">", 1)
    # The page's own rules begin with `figure`, which is not in here.
    rules = f"<style>{style.replace('figure ', '')}</style>"
    file.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" {font} {head}>{rules}{back}{rest}</svg>\n')


if __name__ == "__main__":
    main()
