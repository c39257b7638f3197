r"""Words and values of unit files, written so that systemd reads back what was meant, and read.

    ExecStart=      words, quoted where needed; then %-specifiers; then $-variables
    Environment=    words, quoted where needed; then %-specifiers
    others          the rest of the line; then %-specifiers

Within double or single quotes, and outside of them, a backslash begins an escape like that of C.

Source: systemd.syntax(7), Quoting; systemd.service(5), Command lines; systemd.unit(5), Specifiers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from sockact.errors import UnitsError

_PLAIN = re.compile(r"[A-Za-z0-9_./:=@%$,+~-]+")
"""Words of these need no quotes; a bare `;` would separate two commands."""
_NAMED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|([abfnrtvs\\\"']))"
)
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))")


def command(words: Sequence[str], *, specifiers: bool = False) -> str:
    """Return words as the value of an `ExecStart=`; with `specifiers` a `%` in them keeps its meaning.

    Raises:
        UnitsError: a word cannot be passed on.
    """
    return " ".join(quoted(_specified(word, specifiers).replace("$", "$$")) for word in words)


def assignment(name: str, value: str) -> str:
    """Return a variable as a word of an `Environment=`.

    Raises:
        UnitsError: systemd takes no such name or value.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise UnitsError(f"{name!r} is not the name of a variable: expected letters, digits and _")
    # env_value_is_valid() in src/basic/env-util.c
    if re.search(r"[\x00-\x08\x0b-\x1f\x7f]", value):
        raise UnitsError(f"the value of {name} has a control character, which systemd takes in no variable")
    return quoted(_specified(f"{name}={value}", False))


def text(value: str, where: str, *, specifiers: bool = False) -> str:
    """Return the value of an option that is one text or path; `where` is its name, for errors.

    Raises:
        UnitsError: the value does not fit on the rest of a line, where nothing can be quoted.
    """
    if value != value.strip() or not value.isprintable() or value.endswith("\\"):
        raise UnitsError(
            f"{where}={value!r}: expected no blank at either end, no backslash at the end, and no control"
            " character"
        )
    return _specified(value, specifiers)


def quoted(word: str) -> str:
    """Return one word, in double quotes if it needs them."""
    _require_passable(word)
    if _PLAIN.fullmatch(word):
        return word
    return '"' + "".join(_escaped(char) for char in word) + '"'


def split(line: str) -> list[str]:
    """Return the words of a line, without their quotes and escapes.

    Raises:
        UnitsError: a quote is never closed, or an escape is unknown.
    """
    return list(_split(line))


def expanded(word: str, variables: Mapping[str, str]) -> str:
    """Return a word of a command with its variables replaced; unknown ones stay as they are."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] else variables.get(match[2] or match[3], match[0])

    return _VARIABLE.sub(value, word)


def with_specifiers(word: str, unit: str) -> str:
    """Return a word with the specifiers that stand for the name of its unit replaced, and `%%`.

    In a template those that stand for its instance stay.
    """
    stem = unit.rpartition(".")[0]
    prefix, at, instance = stem.partition("@")
    known = {"%": "%", "p": prefix}
    if instance or not at:
        known |= {"n": unit, "N": stem, "i": instance}
    return re.sub(r"%(.)", lambda match: known.get(match[1], match[0]), word)


def _specified(value: str, specifiers: bool) -> str:
    return value if specifiers else value.replace("%", "%%")


def _require_passable(word: str) -> None:
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise UnitsError(f"{word!r}: expected UTF-8, which alone systemd takes in a unit") from error
    if "\0" in word:
        raise UnitsError(f"{word!r}: a NUL cannot be passed to a program")


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    # The control characters of a terminal and of Unicode: a line must not end.
    if char.isprintable():
        return char
    number = ord(char)
    return (
        f"\\x{number:02x}"
        if number < 0x80
        else f"\\u{number:04x}"
        if number < 0x10000
        else f"\\U{number:08x}"
    )


def _split(line: str) -> Iterator[str]:
    at, word, quote = 0, None, ""
    while at < len(line):
        char = line[at]
        at += 1
        if char == "\\":
            match = _ESCAPE.match(line, at - 1)
            if match is None:
                raise UnitsError(f"{line!r}: the escape {line[at - 1 : at + 1]!r} is unknown")
            word, at = (word or "") + _unescaped(match), match.end()
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            word, quote = word or "", char
        elif not quote and char.isspace():
            if word is not None:
                yield word
            word = None
        else:
            word = (word or "") + char
    if quote:
        raise UnitsError(f"{line!r}: the quote {quote} is never closed")
    if word is not None:
        yield word


def _unescaped(match: re.Match[str]) -> str:
    two, four, eight, octal, single = match.groups()
    if single:
        return _NAMED.get(single, single)
    return chr(int(octal, 8) if octal else int(two or four or eight, 16))
