"""The command `sockact`, whose subcommands are modules of this package.

Only the chosen one is imported: `reload` is run by systemd on every `systemctl reload`, and may be
terminated there at any moment. Each module has `add_arguments(parser)`, and `run(**arguments)`, which
returns the exit status; the docstring of `run` is the help.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple

from sockact.cli.command_parser import CommandParser, split_program
from sockact.errors import SockactError, UsageError, similar
from sockact.untrusted.text import visible


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        summary: what it does, in a few words.
        takes_program: whether `-- PROGRAM ARGUMENT...` may follow; `run` gets it as `program`.
    """

    summary: str
    takes_program: bool = False


COMMANDS = {
    "run": Command("serve an app", takes_program=True),
    "dev": Command("serve an app, and reload it when its files change"),
    "check-app": Command("try an app, as a reload does"),
    "activate": Command("start a program with sockets, without systemd", takes_program=True),
    "reload": Command("reload a service"),
    "pause": Command("let the clients of a service wait"),
    "resume": Command("end a pause"),
    "rollback": Command("go back to the release before"),
    "status": Command("show a service, or all"),
    "units": Command("write the units of an app"),
    "check": Command("look for mistakes in units"),
    "doctor": Command("look for troubles of a machine, and of a service"),
    "prove": Command("reload a service under load, and count lost requests"),
    "probe": Command("load a service, and count lost requests"),
}
"""The subcommands; the module of `check-app` is `check_app`."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; ends in SystemExit with one of the exit statuses in `sockact.errors`."""
    words, program = split_program(sys.argv[1:] if argv is None else argv)
    options = vars(_parser(words).parse_args(words))
    try:
        name = options.pop("command")
        if COMMANDS[name].takes_program:
            options["program"] = program
        elif program:
            taking = [f"sockact {each}" for each in COMMANDS if COMMANDS[each].takes_program]
            raise UsageError(f"-- {' '.join(program)}: only `{'` or `'.join(taking)}` takes a program")
        sys.exit(_module(name).run(**options))
    except SockactError as error:
        print(visible(f"sockact: {error}"), file=sys.stderr)
        sys.exit(error.exit_status)


def _parser(words: Sequence[str]) -> CommandParser:
    """Return the parser for a command line; the other subcommands have their names only.

    Ends the process if there is no such subcommand, or if it does not have an option.
    """
    whole, parsers = parser_of(words[:1])
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        whole.error(f"there is no command {words[0]!r}{similar(words[0], COMMANDS)}")
    for name in parsers.keys() & set(words[:1]):
        parsers[name].require_known(words[1:])
    return whole


def parser_of(chosen: Collection[str]) -> tuple[CommandParser, Mapping[str, CommandParser]]:
    """Return the parser with the arguments of some subcommands, and those of all subcommands by name."""
    import sockact

    whole = CommandParser(prog="sockact", description="Serve Python apps on sockets that systemd passes.")
    whole.add_argument("--version", action="version", version=f"sockact {sockact.__version__}")
    adding = whole.add_subparsers(
        required=True, metavar="COMMAND", dest="command", parser_class=CommandParser
    )
    for name, command in COMMANDS.items():
        parser = adding.add_parser(name, help=command.summary)
        if name in chosen:
            module = _module(name)
            parser.description = module.run.__doc__
            module.add_arguments(parser)
    return whole, adding.choices


def _module(name: str) -> Any:
    return import_module(f"sockact.cli.{name.replace('-', '_')}")
