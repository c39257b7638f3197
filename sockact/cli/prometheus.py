"""The output of `sockact status --prometheus`: a service's metrics, by `protocols.metrics`.

    sockact_info{phase="active",generation="3",version="1.2"} 1
    sockact_reloads_total{result="ok"} 2
    sockact_worker_resident_bytes{worker="5",generation="3"} 41943040

A timer writes it to a file of node_exporter's textfile collector; the service opens no port for it. It
needs no library: prometheus-client serves a listener named `metrics` only.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sockact.protocols.metrics import Family, families
from sockact.untrusted.text import visible


def render(service: Mapping[str, Any]) -> str:
    """Return the metrics of a service (see `sockact.protocols.overview`)."""
    return "\n".join(map(_text, families(service)))


def _text(family: Family) -> str:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    lines = [f"# HELP {name} {family.meaning}", f"# TYPE {name} {family.kind}"]
    for suffix, labels, value in family.samples:
        inner = ",".join(f'{label}="{_escaped(str(text))}"' for label, text in labels.items())
        sample = f"{family.name}{suffix}"
        lines.append(visible(f"{sample}{{{inner}}} {value}" if inner else f"{sample} {value}"))
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return visible(text).replace("\\", r"\\").replace('"', r"\"")
