"""`sockact probe`: counts planted losses exactly, runs commands under load, loads this machine only."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sockact.probe.action import RunAction, perform
from sockact.probe.pace import Clock
from sockact.probe.record import Mark
from tests.support.commands import SOCKACT
from tests.support.faulty import GOOD, answer_and_close, head, reset, serve
from tests.support.manager import CHECKOUT, LIMIT, wait_until

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(CHECKOUT), "LANG": "C.UTF-8"}


def command(*words: str) -> list[str]:
    return [*SOCKACT, "probe", *words]


def probe(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        cwd=folder,
        timeout=60,
        check=False,
    )


def report(*words: str, status: int = 0) -> dict[str, Any]:
    done = probe(*words, "--json")
    assert done.returncode == status, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


class Planted:
    """A server that resets some requests, and knows how many: each `every`-th, on any connection."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.requests = 0
        self.lost = 0
        self._lock = threading.Lock()

    def __call__(self, connection: socket.socket, _number: int) -> None:
        while True:
            request = head(connection)
            if not request.endswith(b"\r\n\r\n"):
                return
            with self._lock:
                self.requests += 1
                losing = self.requests % self.every == 0
                self.lost += losing
            if losing:
                reset(connection)
                return
            if b"close" in request:
                answer_and_close(connection)
                return
            connection.sendall(GOOD)


@pytest.mark.parametrize("load", ["persistent:4@100", "one-shot:4@25"])
def test_planted_losses_are_counted_exactly(load: str) -> None:
    planted = Planted(every=13)
    with serve(planted) as url:
        found = report(url, "--duration=1s", f"--load={load}", status=1)

    assert planted.lost > 3
    assert (found["requests"], found["lost"]) == (planted.requests, planted.lost)
    assert found["total"]["outcomes"]["reset"] == planted.lost


def good(connection: socket.socket, number: int) -> None:
    while head(connection).endswith(b"\r\n\r\n"):
        connection.sendall(GOOD.replace(b"\r\n", b"\r\nX-Pid: 42\r\n", 1))


def test_a_command_is_run_while_the_service_is_loaded(tmp_path: Path) -> None:
    with serve(good) as url:
        found = report(
            url,
            *("--load=persistent:2@100", "--around=300ms"),
            *(f"--during=echo $0 $1 > '{tmp_path}/a b'; sleep 0.2", "--during=echo broken; exit 3"),
            status=69,
        )

    first, second = found["actions"]
    assert (first["status"], second["status"], second["output"]) == (0, 3, "broken")
    assert (tmp_path / "a b").exists()
    assert [phase["phase"] for phase in found["phases"]][0::2] == ["before", "between", "after"]
    assert all(phase["requests"] > 0 for phase in found["phases"][:3])
    assert sum(phase["requests"] for phase in found["phases"]) == found["requests"]
    assert found["connections"] == {"persistent": 2, "lasted": 2, "ends": {}}


def performed(action: RunAction, limit: float) -> Mark:
    async def in_loop() -> Mark:
        return await perform(action, limit, Clock())

    return asyncio.run(in_loop())


def test_a_command_that_never_ends_is_ended() -> None:
    mark = performed(RunAction.of_shell("echo begun; sleep 600 & wait"), 1.5)

    assert (mark.status, mark.output) == (None, "begun")


def test_a_program_that_is_not_there_is_told() -> None:
    mark = performed(RunAction("x", ("/nonexistent",)), LIMIT)

    assert mark.status == 127
    assert "No such file" in mark.output


def test_text_that_is_no_utf_8_can_be_drawn(tmp_path: Path) -> None:
    page = os.fsencode(tmp_path / "page") + b"\xff.html"
    with serve(good) as url:
        during = ["--load=one-shot:1@50", "--around=50ms", b"--during=true \xe4 '\xff'"]
        words = [*command(url), *during, b"--html=" + page]
        done = subprocess.run(words, capture_output=True, env=ENVIRONMENT, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    assert b"exit status 0" in done.stderr
    assert Path(os.fsdecode(page)).stat().st_size > 10_000


def test_ctrl_c_ends_the_load_and_lets_the_command_finish(tmp_path: Path) -> None:
    waiting = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done"
    during = f"--during=touch {tmp_path}/begun; {waiting}; touch {tmp_path}/done"
    with serve(good) as url:
        words = command(url, during, "--around=10ms", "--load=persistent:1@50", "--json")
        with subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            start_new_session=True,
        ) as running:
            wait_until((tmp_path / "begun").exists)
            os.killpg(running.pid, signal.SIGINT)  # as a terminal does
            (tmp_path / "go").touch()
            out, _ = running.communicate(timeout=LIMIT)

    assert (tmp_path / "done").exists()
    assert json.loads(out)["actions"][0]["status"] == 0
    assert running.returncode == 0


@pytest.mark.parametrize("url", ["http://192.0.2.1/", "https://[2001:db8::1]:8443/"])
def test_another_host_is_loaded_only_by_who_says_that_he_may(url: str) -> None:
    refused = probe(url, "--duration=100ms")

    assert refused.returncode == 64
    assert "not on this machine" in refused.stderr
    assert "--this-is-mine" in refused.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["http://127.0.0.1:1/", "--load=nosuch:1@1"], "no kind 'nosuch'"),
        (["http://127.0.0.1:1/", "--load=one-shot:1@1", "--load=one-shot:1@1"], "given twice"),
        (["http://127.0.0.1:1/", "--duration=2h"], "at most 3600 s"),
        (["http://127.0.0.1:1/", "--duration=0"], "more than 0"),
        (["http://127.0.0.1:1/", "--duration=soon"], "--duration=soon"),
        (["http://127.0.0.1:1/", "--duration=1s", "--during=true"], "with --during"),
        (["http://127.0.0.1:1/", "--html=/"], "a file that can be written"),
        (["http://127.0.0.1:1/", "--html=/nonexistent/x.html"], "a file that can be written"),
        (["http://127.0.0.1:1/", "--host=a b"], "expected a name"),
        (["ftp://127.0.0.1/"], "is neither"),
        (["http://me:secret@127.0.0.1/"], "no password"),
    ],
)
def test_a_wrong_word_is_said_in_one_line(words: list[str], said: str) -> None:
    done = probe(*words)

    assert done.returncode == 64
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


def test_a_service_that_never_answers_is_no_success() -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
        done = probe(f"http://127.0.0.1:{port}/", "--duration=200ms", "--load=one-shot:1@20")

    assert done.returncode == 1
    assert "not every client was served" in done.stdout


# --- the page in a browser

SHOT = ("--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=2000")


@pytest.fixture
def browser(needs: Callable[..., None], tmp_path: Path) -> Callable[..., str]:
    """Give a callable that shows a page in Chromium, and returns what has become of it."""
    needs("chromium", "browser")

    def show(page: Path, *options: str) -> str:
        profile = f"--user-data-dir={tmp_path}/profile"
        words = ["chromium", *SHOT, profile, *options, page.as_uri()]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout

    return show


WALK = """<script>
const all = [...document.querySelectorAll(".walk")].map((part) => part.querySelectorAll(".stop"));
const press = (key) =>
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
const steps = [];
all[0][0].focus();
for (const key of ["ArrowRight", "End", "ArrowRight", "Home"]) {
  press(key);
  steps.push([...all[0]].indexOf(document.activeElement));
}
const said = document.querySelector(".says").textContent;
const back = getComputedStyle(document.body).backgroundColor;
const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
document.body.innerHTML = JSON.stringify({steps, said, back, wide, stops: all[0].length});
</script>"""


def test_the_page_is_for_the_keyboard_and_for_light_and_dark(
    browser: Callable[..., str], tmp_path: Path
) -> None:
    page = tmp_path / "a b%20ü.html"
    with serve(good) as url:
        found = probe(url, "--load=persistent:2@50", "--during=true", "--around=500ms", f"--html={page}")
    assert found.returncode == 0, found.stderr
    text = page.read_text()
    assert "answered by PID 42" in text
    # The browser's own errors would be in its log only: what the script says is proof that it ran.
    page.write_text(text.replace("</body>", f"{WALK}</body>"))

    backs = []
    for scheme in (0, 1):
        shown = browser(page, "--dump-dom", f"--blink-settings=preferredColorScheme={scheme}")
        told = json.loads(shown.partition("<body")[2].partition(">")[2].partition("</body>")[0])
        last = told["stops"] - 1
        assert told["steps"] == [1, last, last, 0]
        assert told["said"].startswith("0.00 to ")
        assert not told["wide"]
        backs.append(told["back"])

    assert backs == ["rgb(13, 17, 23)", "rgb(255, 255, 255)"]


def test_the_page_does_not_need_its_script(browser: Callable[..., str], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with serve(good) as url:
        probe(url, "--load=persistent:2@50", "--duration=500ms", f"--html={page}")
    page.write_text(page.read_text().partition("<script>")[0])
    picture = tmp_path / "page.png"

    browser(page, f"--screenshot={picture}", "--window-size=400,900")

    assert picture.stat().st_size > 10_000
