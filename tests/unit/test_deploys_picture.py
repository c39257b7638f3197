"""The picture of the section Deploys."""

from pathlib import Path

from tests.bench.deploys_picture import drawn

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_picture_shows_what_the_page_says():
    """Else: python -m tests.bench.deploys_picture docs/performance.md docs/deploys.svg."""
    page, picture = (DOCS / name for name in ("performance.md", "deploys.svg"))

    assert picture.read_text().splitlines() == list(drawn(page.read_text()))
