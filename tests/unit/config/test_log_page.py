"""docs/logs.md and the catalog say what the code does."""

from __future__ import annotations

import json
import logging
import re
import shlex
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from sockact.cli import main
from sockact.config import access_format, log_handlers, logs
from sockact.config.log_formats import FORMATS
from sockact.config.records import ATTRIBUTE, RecordKind, about, add_request_id, identify, in_request
from sockact.config.settings import FIELDS
from sockact.engines.http import asgi
from tests.support.manager import CHECKOUT

PAGE = (CHECKOUT / "docs" / "logs.md").read_text()
CATALOG = (CHECKOUT / "units" / "sockact.catalog").read_text()


def rows(heading: str) -> dict[str, str]:
    """Return the rows of the first table below a heading, by their first cell without its code marks."""
    text = re.split(r"^#+ ", PAGE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = re.findall(r"^\| `?([^|`]+)`? \| (.*?)(?: \|.*)? \|$", text, re.MULTILINE)
    return {name: rest for name, rest in found if not name.startswith("-")}


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_page_has_all_names_of_the_format_with_their_meanings() -> None:
    table = rows("Its format")

    assert {
        f"%({name})s": meaning for name, meaning in access_format.ATOMS.items()
    }.items() <= table.items()
    assert set(table) - {f"%({name})s" for name in access_format.ATOMS} == {
        *("name", "%({x-header}i)s", "%({x-header}o)s", "%%")
    }
    assert f"\n{access_format.DEFAULT}\n" in PAGE


def test_the_page_has_all_kinds_of_records() -> None:
    assert rows("Kinds of records") == {
        "kind": "`MESSAGE_ID`",
        **{kind.name: f"`{kind.value}`" for kind in RecordKind},
    }


def test_the_page_has_all_forms_of_the_log() -> None:
    assert tuple(rows("Other forms"))[1:] == FORMATS


def test_the_page_names_the_keys_of_scope_and_record() -> None:
    assert f'scope["state"]["{asgi.REQUEST}"]' in PAGE
    assert f'environ["{asgi.REQUEST}"]' in PAGE
    assert f"%({ATTRIBUTE})s" in PAGE


def test_the_commands_of_the_page_are_understood() -> None:
    commands = re.findall(r"^    (sockact run .*)$", PAGE, re.MULTILINE)
    assert commands
    for command in commands:
        chosen = vars(main._parser(["run"]).parse_args(shlex.split(command)[1:]))
        assert {name for name, value in chosen.items() if value and name in FIELDS} == {
            *("request_id", "trusted_proxies")
        }


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore what is said of this process, and the factory of records."""
    monkeypatch.setattr("sockact.config.records._process", {})
    factory = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(factory)


def test_a_record_of_json_has_the_keys_of_the_page(process: None) -> None:
    example = json.loads(block("json"))
    identify(generation=1, worker=1)
    facts = ("syslog_identifier", "client", "method", "target", "protocol", "status", "bytes")
    given: dict[str, Any] = {name: example[name] for name in (*facts, "duration_usec", "user_agent")}
    record = logging.LogRecord("sockact.access", logging.INFO, "", 1, "%s", (example["message"],), None)
    vars(record).update(about(RecordKind.REQUEST, **given))
    with in_request(example["request_id"]):
        made = json.loads(log_handlers.JsonFormatter().format(record))

    own = ("time", "pid")
    assert list(made) == list(example)
    assert [made[name] for name in made if name not in own] == [
        example[name] for name in example if name not in own
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", made["time"])


def test_the_apps_handler_writes_where_sockact_does(
    process: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "_default_handler", log_handlers.handler_for("json", to_journal=False))
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    exec(block("python"), {})

    with in_request("abc"):
        logging.getLogger("shop").info("sold %d", 3)

    (line,) = capfd.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["logger"], found["message"], found["request_id"]) == ("shop", "sold 3", "abc")


@pytest.mark.parametrize(("form", "structured"), [("json", True), ("plain", False)])
def test_what_an_app_logs_without_any_handler_has_its_facts_where_there_are_some(
    form: str, structured: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "__stderr__", sys.stderr)  # as without pytest
    monkeypatch.setattr(logs, "_default_handler", log_handlers.handler_for(form, to_journal=False))
    last = logs._LastResort(logging._StderrHandler(logging.WARNING))  # type: ignore[attr-defined]
    record = logging.LogRecord("shop", logging.WARNING, "", 1, "the till is empty", (), None)
    with in_request("abc"):
        last.handle(record)

    text = capfd.readouterr().err.strip()
    assert text.startswith("{") is structured
    assert "the till is empty" in text
    assert ("abc" in text) is structured


def test_each_record_of_the_app_has_the_id_and_its_own_extra(process: None) -> None:
    add_request_id()
    logger = logging.getLogger("shop")
    with in_request("abc"):
        record = logger.makeRecord("shop", 20, "", 1, "m", (), None, extra={"request_id": "its own"})
    outside = logger.makeRecord("shop", 20, "", 1, "m", (), None)

    assert logging.Formatter(f"%({ATTRIBUTE})s %(request_id)s").format(record) == "abc its own"
    assert logging.Formatter(f"%({ATTRIBUTE})s").format(outside) == "-"


def test_the_catalog_has_an_entry_for_each_kind() -> None:
    found = re.findall(r"^-- ([0-9a-f]{32})\nSubject: .+\nDefined-By: sockact\n\n\S", CATALOG, re.MULTILINE)

    assert found == [kind.value for kind in RecordKind]
