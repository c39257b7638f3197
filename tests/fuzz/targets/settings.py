"""Settings in the environment: each value is right, or refused with its name in one line."""

from __future__ import annotations

from sockact.config import conversion, settings
from sockact.errors import SettingsError
from tests.fuzz.oracle import Broken

DICTIONARY = (
    *(
        b"=",
        b"\n",
        b"0",
        b"-1",
        b"1.5",
        b"1e999",
        b"nan",
        b"inf",
        b"30s",
        b"1min 5s",
        b"10 GiB",
        b"9" * 30,
        b"yes",
        b"%",
    ),
    *(
        b"127.0.0.1:80",
        b"[::1]:80",
        b"/run/x",
        b"@x",
        b"vsock::1",
        b"web=",
        b",",
        b" ",
        b":",
        b"\0",
        b"\xff",
        b"\xb2",
    ),
    *(name.upper().encode() for name in settings.FIELDS),
)


def target(data: bytes) -> None:
    """Resolve the settings in lines of NAME=value."""
    environ = {}
    for line in data.replace(b"\0", b"").split(b"\n"):
        name, equals, value = line.partition(b"=")
        if equals:
            environ[f"SOCKACT_{name.decode('utf-8', 'surrogateescape')}"] = value.decode(
                "utf-8", "surrogateescape"
            )
    try:
        chosen = settings.resolve({}, environ, {})
    except SettingsError as error:
        if "\n" in str(error) or len(str(error)) > len(data) + 1000:
            raise Broken(f"an error with more than a line: {str(error)!r}") from error
        return
    given = {name: _written(getattr(chosen, name)) for name in settings.FIELDS}
    again = settings.resolve(given, {}, {})
    for name in settings.FIELDS:
        found, expected = getattr(again, name), getattr(chosen, name)
        if not (found == expected or (isinstance(expected, float) and abs(found - expected) < 1e-6)):
            raise Broken(f"{name}={expected!r} is written as {given[name]!r}, and read as {found!r}")


def _written(value: object) -> object:
    """Return a value as a command line has it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, tuple | list):
        return [conversion.written(each) for each in value]
    return conversion.written(value)
