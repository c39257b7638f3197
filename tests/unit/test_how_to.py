"""The how-to pages have no snippet that is not run, but for those that say so."""

from __future__ import annotations

import pytest

from tests.support.how_to import Commands, Content, missing, script, steps
from tests.support.manager import CHECKOUT

FOLDER = CHECKOUT / "docs/how-to"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "index.md")
MOST_NOT_RUN = 8

PAGE = """
```python title="/opt/shop/app.py"
app = None
```

```sh
cd /opt/shop
false       # fails, of course
```

```text
version ...
two
```

*Not run by a test: there is no docker.*

```sh
docker run shop
```
"""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_snippet_is_run(page: object) -> None:
    assert steps(page.read_text())  # type: ignore[attr-defined]


def test_few_snippets_are_not_run() -> None:
    assert sum(page.read_text().count("\n*Not run") for page in PAGES) <= MOST_NOT_RUN


def test_each_page_is_in_the_list_of_pages() -> None:
    listed = (FOLDER / "index.md").read_text()

    assert [page.name for page in PAGES if f"]({page.name})" not in listed] == []


def test_the_snippets_of_a_page_come_in_its_order() -> None:
    assert steps(PAGE) == [
        Content("/opt/shop/app.py", "app = None\n"),
        Commands("cd /opt/shop\nfalse       # fails, of course\n", ("version ...", "two")),
    ]


def test_a_snippet_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="neither commands nor"):
        steps("```ini\n[Service]\n```\n")


def test_a_command_that_must_fail_is_turned_round() -> None:
    assert script(Commands("true\nfalse   # fails\n")) == (
        'true\nif false; then echo "this did not fail" >&2; exit 99; fi\n'
    )


def test_a_missing_line_of_output_is_seen() -> None:
    assert missing(("version ...", "two"), "version 1\none\ntwo\n") == []
    assert missing(("two", "version ..."), "version 1\none\ntwo\n") == ["version ..."]
    assert missing(("...", "200 text/css"), "404 text/html\n") == ["200 text/css"]
