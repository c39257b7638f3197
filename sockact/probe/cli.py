"""The command line of the probe for programs: prints a report to stdout, and `started` to stderr.

It loads any address until a signal comes; `sockact probe` is for people, and has its limits.

Exit status: 0 every request was served (or closed properly), and every client at least once · 1 otherwise ·
64 usage
"""

import argparse
import asyncio
import json
import math
import sys
from collections.abc import Sequence
from typing import NoReturn

from .report import document, table
from .run import RunPlan
from .session import until_signal
from .spec import DEFAULT, KINDS, parse_specs
from .wire import resolve

USAGE = 64
LOST = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the probe, write its report, and return the exit status."""
    parser = _parser()
    arguments = parser.parse_intermixed_args(argv)
    try:
        plan = _plan(arguments)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    result = asyncio.run(until_signal(plan, _announce))
    report = document(arguments.url, plan.specs, result)
    sys.stdout.write(json.dumps(report) + "\n" if arguments.json else table(report))
    return LOST if report["lost"] or report["started"] is None else 0


class _ProbeParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}\n")


def _parser() -> argparse.ArgumentParser:
    kinds = "\n".join(map(_usage, KINDS))
    parser = _ProbeParser(
        prog="python -m sockact.probe",
        description="Load a service without repeating any request, and count the requests that it loses.",
        epilog=f"loads (RATE is per second and client, or max; options with their defaults):\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("url", metavar="URL", help="http[s]://HOST[:PORT][/PATH] or unix:/PATH/OF/SOCKET")
    parser.add_argument("loads", metavar="LOAD", nargs="*", help=f"default: {' '.join(DEFAULT)}")
    parser.add_argument("--duration", type=_positive, metavar="S", help="default: until SIGTERM or SIGINT")
    parser.add_argument("--requests", type=_count, metavar="N", help="end after N requests of each client")
    parser.add_argument(
        "--limit", type=_positive, default=30.0, metavar="S", help="for a request [%(default)g]"
    )
    parser.add_argument(
        "--start-limit",
        type=_positive,
        default=30.0,
        metavar="S",
        help="until `started` on stderr [%(default)g]",
    )
    parser.add_argument("--json", action="store_true", help="report as one JSON object")
    return parser


def _usage(kind: str) -> str:
    return f"  {kind}:CLIENTS@RATE" + "".join(f",{name}={value:g}" for name, value in KINDS[kind].items())


def _positive(text: str) -> float:
    if not 0 < (value := float(text)) < math.inf:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


def _plan(arguments: argparse.Namespace) -> RunPlan:
    return RunPlan(
        address=resolve(arguments.url),
        specs=parse_specs(arguments.loads),
        duration=arguments.duration,
        requests=arguments.requests,
        limit=arguments.limit,
        start_limit=arguments.start_limit,
    )


def _announce(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
