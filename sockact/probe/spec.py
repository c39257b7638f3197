"""Parses the specification of a load: `KIND:CLIENTS@RATE[,name=value]...`.

For example:

    one-shot:4@50                 4 clients, each 50 requests a second, each on a connection of its own
    persistent:2@max              2 clients, each with the next request as soon as the last is answered
    slow:3@0.4,seconds=2          3 clients, each with a request of 2 s every 2.5 s

Rates are per client.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

KINDS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "one-shot": {},
        "pause": {"pause": 0.2},
        "persistent": {},
        "slow": {"seconds": 2.0},
        "upload": {"chunks": 20, "seconds": 1.5},
        "stream": {"chunks": 20, "interval": 0.1},
        "websocket": {},
    }
)
"""The kinds of client, each with its options and their defaults; times in seconds."""

# Three clients that lose requests in three different ways: a connection for each request, a connection that
# is silent at first, and a connection that is idle between requests. They request the URL itself, so that
# the probe works with any service.
DEFAULT = ("one-shot:2@20", "pause:2@2", "persistent:4@10")

_SHAPE = re.compile(
    r"(?P<kind>[a-z-]+):(?P<clients>\d+)@(?P<rate>[\d.]+|max)(?P<options>(,[a-z]+=[\d.]+)*)",
)


MAX_CLIENTS = 10_000
MAX_CHUNKS = 10_000
"""The limits of both, since all of them are in memory at the same time."""


class SpecError(ValueError):
    """A load specification is invalid; says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Spec:
    """The specification of a load: the kind of client, their number, rate and options.

    `rate` is in requests a second for each client; None means saturated. `label` is the text it came from.
    """

    label: str
    kind: str
    clients: int
    rate: float | None
    options: Mapping[str, float]

    @property
    def busy(self) -> float:
        """The seconds that a request takes by its own pauses."""
        match self.kind:
            case "pause":
                return 2 * self.options["pause"]
            case "slow" | "upload":
                return self.options["seconds"]
            case "stream":
                return self.options["chunks"] * self.options["interval"]
            case _:
                return 0.0


def parse_specs(labels: Sequence[str]) -> tuple[Spec, ...]:
    """Parse the specifications of all loads, the default if there are none; raises as `parse_spec`."""
    labels = labels or DEFAULT
    if twice := sorted({label for label in labels if labels.count(label) > 1}):
        raise SpecError(f"{twice[0]!r} is given twice; one load has more clients instead")
    return tuple(map(parse_spec, labels))


def parse_spec(text: str) -> Spec:
    """Parse one load specification.

    Raises:
        SpecError: the text is malformed, a kind or option is unknown, or the rate is higher than a client
            that waits for each response can keep: it would fall behind by itself, and the latency would be
            the probe's.
    """
    if (found := _SHAPE.fullmatch(text)) is None:
        raise SpecError(f"{text!r} is not KIND:CLIENTS@RATE[,name=value]...")
    kind = found["kind"]
    if kind not in KINDS:
        raise SpecError(f"{text!r}: no kind {kind!r}, there are {' '.join(KINDS)}")
    options = {**KINDS[kind], **_options(text, found["options"])}
    rate = None if found["rate"] == "max" else _number(text, found["rate"])
    spec = Spec(text, kind, int(found["clients"]), rate, options)
    if unknown := options.keys() - KINDS[kind].keys():
        raise SpecError(f"{text!r}: {kind} has no option {' '.join(sorted(unknown))}")
    if spec.clients < 1 or rate == 0:
        raise SpecError(f"{text!r}: clients and rate must be more than 0")
    if not 1 <= options.get("chunks", 1) <= MAX_CHUNKS:
        raise SpecError(f"{text!r}: chunks must be at least 1, and at most {MAX_CHUNKS}")
    if spec.clients > MAX_CLIENTS:
        raise SpecError(f"{text!r}: there may be {MAX_CLIENTS} clients at most")
    if rate is not None and rate * spec.busy > 1:
        raise SpecError(
            f"{text!r}: a request takes {spec.busy:g} s, so the rate is at most {1 / spec.busy:.3g}"
        )
    return spec


def _options(text: str, options: str) -> dict[str, float]:
    pairs = (option.split("=") for option in options.split(",") if option)
    return {name: _number(text, value) for name, value in pairs}


def _number(text: str, digits: str) -> float:
    try:
        return float(digits)
    except ValueError:
        raise SpecError(f"{text!r}: {digits!r} is not a number") from None
