"""OpenTelemetry as docs/opentelemetry.md has it: no span is lost, neither in a reload nor at the end."""

from __future__ import annotations

import pytest

from tests.support.commands import reload
from tests.support.http_client import get
from tests.support.service import Service, stop

pytest.importorskip("opentelemetry.sdk")
pytest.importorskip("opentelemetry.instrumentation.asgi")
pytest.importorskip("opentelemetry.instrumentation.wsgi")

# Exports once a minute, or at the end: only the flush at a worker's end brings the spans of this test.
SETUP = """
import sockact
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

@sockact.hooks.on_start
def trace_this_process():
    file = open("spans", "a")
    exporter = ConsoleSpanExporter(out=file, formatter=lambda span: f"{span.kind.name} {span.name}\\n")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=60_000))
    trace.set_tracer_provider(provider)
"""
APPS = {
    "asgi": """
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
async def hello(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
app = OpenTelemetryMiddleware(hello)
""",
    "wsgi": """
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
def hello(environ, start):
    start("200 OK", [])
    return [b"hello"]
app = OpenTelemetryMiddleware(hello)
""",
}
HOOK = """
@sockact.hooks.on_exit
def send_the_last_spans():
    trace.get_tracer_provider().shutdown()
"""
"""Needed where execve(2) replaces the code: Python's atexit, by which the SDK flushes, is not run then."""

ASKED = 5


@pytest.mark.parametrize(
    ("kind", "mode", "hook"),
    [
        ("asgi", ("--workers=1", "--probation=0.1s"), ""),
        ("wsgi", ("--workers=1", "--probation=0.1s", "--preload"), ""),
        ("asgi", ("--workers=0",), HOOK),
    ],
    ids=["ASGI, supervised", "WSGI, preloaded", "ASGI, alone"],
)
def test_no_span_is_lost_over_a_reload_and_a_stop(
    service: Service, kind: str, mode: tuple[str, ...], hook: str
) -> None:
    (service.directory / "app.py").write_text(SETUP + APPS[kind] + hook)
    service.start(*mode, "--kind", kind)
    for _ in range(ASKED):
        assert get(service.listener).text == "hello"
    assert reload(service)[0] == 0
    for _ in range(ASKED):
        assert get(service.listener).text == "hello"
    stop(service)

    spans = (service.directory / "spans").read_text().splitlines()
    assert sum(span.startswith("SERVER ") for span in spans) == 2 * ASKED
