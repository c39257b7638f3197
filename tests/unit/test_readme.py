"""README says what is."""

from __future__ import annotations

from sockact.config.settings import FIELDS
from tests.support.manager import CHECKOUT

README = (CHECKOUT / "docs/settings.md").read_text()


def settings_table() -> str:
    """Return the table of settings as README must have it."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in FIELDS.items():
        meaning = " ".join(field.metadata["help"].split())
        rows.append(f"| `{name}` | {shown(field.default)} | {meaning} |")
    return "\n".join(rows)


def shown(default: object) -> str:
    if isinstance(default, tuple):
        return " ".join(f"`{item}`" for item in default)
    if default is None:
        return "none"
    if isinstance(default, bool):
        return "no" if default is False else "yes"
    return f"{default:g} s" if isinstance(default, float) else f"`{default}`" if default != "" else ""


def test_the_table_of_settings_is_complete() -> None:
    assert settings_table() in README
