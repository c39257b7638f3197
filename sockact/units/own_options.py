"""The options of `sockact run` as those of one more server, whose units may be old."""

from __future__ import annotations

from collections.abc import Iterator

from sockact.config.settings import FIELDS
from sockact.units.servers import SERVERS, OtherServer, RequestPart, ServerOption, Setting

_PARTS = {"listen": "-l --listen", "chdir": "--chdir", "env_file": "--env-file"}
_PART_NAMES = {"listen": "listen", "chdir": "folder", "env_file": "env_file"}


def _options() -> Iterator[ServerOption]:
    for name, field in FIELDS.items():
        word = name.replace("_", "-")
        if name in _PARTS:
            yield ServerOption(_PARTS[name], True, RequestPart(_PART_NAMES[name]))
        elif isinstance(field.default, bool):
            yield ServerOption(f"--{word}", False, Setting(name))
            yield ServerOption(f"--no-{word}", False, Setting(name, convert=lambda _: "no"))
        else:
            names = f"-w --{word}" if name == "workers" else f"--{word}"
            yield ServerOption(names, True, Setting(name))


SOCKACT = OtherServer("sockact", tuple(_options()))

KNOWN = {"sockact": SOCKACT, **SERVERS}
"""The servers whose command lines are understood, by the name of their program."""
