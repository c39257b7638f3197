"""docs/settings.md says what the code says."""

from __future__ import annotations

from sockact.config import page
from sockact.config.settings import FIELDS, Group
from tests.support.manager import CHECKOUT

PAGE = CHECKOUT / "docs" / "settings.md"


def test_the_page_of_settings_is_made_from_the_code() -> None:
    """It is made anew by `python -m sockact.config.page >docs/settings.md`."""
    assert PAGE.read_text() == page.page()


def test_every_setting_is_on_the_page_once() -> None:
    text = page.page()

    assert {name: text.count(f"\n| `{name}` |") for name in FIELDS} == dict.fromkeys(FIELDS, 1)
    assert [text.count(f"\n## {group}\n") for group in Group] == [1] * len(Group)


def test_the_settings_of_a_group_stand_together() -> None:
    groups = [field.metadata["group"] for field in FIELDS.values()]

    assert groups == sorted(groups, key=list(Group).index)
