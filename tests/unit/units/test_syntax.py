"""Words of unit files: written so that they can be read, by us as by systemd (tests/machine/units)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.errors import UnitsError
from sockact.units import syntax

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@given(st.lists(TEXT))
def test_a_command_is_read_back_as_it_was_written(words: list[str]) -> None:
    read = [
        syntax.with_specifiers(syntax.expanded(word, {}), "a.service")
        for word in syntax.split(syntax.command(words))
    ]

    assert read == words


@given(TEXT)
def test_a_quoted_word_never_ends_the_line(word: str) -> None:
    assert syntax.quoted(word).isprintable()
    assert not syntax.quoted(word).endswith("\\")


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/opt/shop/venv/bin/sockact", "/opt/shop/venv/bin/sockact"),
        ("two words", '"two words"'),
        ("", '""'),
        (";", '";"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('say "no"', r'"say \"no\""'),
        ("a\nb", r'"a\x0ab"'),
        ("\u202e", r'"\u202e"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_words_are_quoted_where_they_need_it(word: str, written: str) -> None:
    assert syntax.command([word]) == written


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a  b\tc", ["a", "b", "c"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        (r"a\x20b \u00e4 \101 \s", ["a b", "ä", "A", " "]),
        ("a'b'c", ["abc"]),
        ("''", [""]),
        ("", []),
    ],
)
def test_words_are_read_as_systemd_does(line: str, words: list[str]) -> None:
    assert syntax.split(line) == words


@pytest.mark.parametrize("line", ["'a", '"a', "\\", "\\q", "\\x1"])
def test_a_line_that_systemd_refuses_is_an_error(line: str) -> None:
    with pytest.raises(UnitsError):
        syntax.split(line)


@pytest.mark.parametrize("value", ["a\x01", "\r", "\x7f"])
def test_a_variable_with_a_control_character_is_an_error(value: str) -> None:
    with pytest.raises(UnitsError, match="control character"):
        syntax.assignment("A", value)


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "ä"])
def test_a_variable_without_a_valid_name_is_an_error(name: str) -> None:
    with pytest.raises(UnitsError, match="not the name of a variable"):
        syntax.assignment(name, "")


@pytest.mark.parametrize("word", ["\0", "\udc80"])
def test_a_word_that_cannot_be_passed_is_an_error(word: str) -> None:
    with pytest.raises(UnitsError):
        syntax.command([word])


@pytest.mark.parametrize("value", [" a", "a ", "a\n", "a\\", "\x1b"])
def test_a_text_that_does_not_fit_on_a_line_is_an_error(value: str) -> None:
    with pytest.raises(UnitsError, match="--listen="):
        syntax.text(value, "--listen")


def test_variables_and_specifiers_are_replaced_where_they_are_known() -> None:
    assert syntax.expanded("$A ${B} $C $$A", {"A": "1", "B": "2"}) == "1 2 $C $A"
    assert syntax.with_specifiers("%n %N %p %i %% %h", "a@1.service") == "a@1.service a@1 a 1 % %h"
    assert syntax.with_specifiers("%N %p %i", "a.service") == "a a "
    assert syntax.with_specifiers("%N %p %i %%", "a@.service") == "%N a %i %"
