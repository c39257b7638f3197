"""From a project to a proven service, as docs/first-service.md has it, with the frameworks themselves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.machine import service
from tests.support.machine.machine import Machine
from tests.support.machine.roots import prepare

PORT = 8100


class Project(NamedTuple):
    """A project of a framework.

    Attributes:
        module: the file that a deploy changes.
        files: its files with their contents.
        app: the app, as the user writes it; empty if it is found.
    """

    module: str
    files: dict[str, str]
    app: str = ""


FLASK = """
from flask import Flask

app = Flask(__name__)

@app.get("/")
def index():
    return "flask"
"""

FASTAPI = """
from fastapi import FastAPI

app = FastAPI()

@app.get("/")
async def index():
    return "fastapi"
"""

DJANGO_SETTINGS = """
SECRET_KEY = "not secret"
ROOT_URLCONF = "shop.urls"
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
WSGI_APPLICATION = "shop.wsgi.application"
"""

DJANGO_URLS = """
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("", lambda request: HttpResponse("django"))]
"""

DJANGO_WSGI = """
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
application = get_wsgi_application()
"""

DJANGO_MANAGE = """
import os, sys

from django.core.management import execute_from_command_line

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
execute_from_command_line(sys.argv)
"""

PROJECTS = {
    "flask": Project("main.py", {"main.py": FLASK}),
    "fastapi": Project("web.py", {"web.py": FASTAPI}, "web"),
    "django": Project(
        "shop/wsgi.py",
        {
            "shop/__init__.py": "",
            "shop/settings.py": DJANGO_SETTINGS,
            "shop/urls.py": DJANGO_URLS,
            "shop/wsgi.py": DJANGO_WSGI,
            "manage.py": DJANGO_MANAGE,
        },
    ),
}


@pytest.fixture(scope="session")
def wheels(suite: str, root: Path, machine: Machine) -> str:
    """Return the options with which pip finds sockact and the frameworks without a network."""
    prepare(root, "frameworks")
    found = service.wheels(machine)
    return f"--no-index --find-links {found} --find-links {found}/frameworks"


@pytest.fixture
def name(machine: Machine, request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the name of a service, which is removed at the end."""
    name: str = request.getfixturevalue("framework")
    yield name
    units = f"{name}.socket {name}.service"
    machine.run(
        "sh", "-c", f"systemctl disable --now {units}; rm -rf /etc/systemd/system/{name}.* /opt/{name}"
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "reset-failed")


@pytest.mark.in_turn
@pytest.mark.parametrize("framework", PROJECTS)
def test_a_project_becomes_a_service_that_a_deploy_does_not_hurt(
    machine: Machine, wheels: str, framework: str, name: str
) -> None:
    project, folder = PROJECTS[framework], f"/opt/{name}"
    for file, source in project.files.items():
        machine.run("mkdir", "-p", str(Path(folder, file).parent))
        machine.write(f"{folder}/{file}", source)

    def shell(line: str, status: int = 0) -> str:
        done = machine.run("sh", "-c", f"cd {folder} && {line}", check=False, timeout=180)
        assert done.returncode == status, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    shell(f"python3 -m venv venv && venv/bin/pip install -q {wheels} sockact {framework}")
    shell(f"venv/bin/sockact units {project.app} --name {name} --listen 127.0.0.1:{PORT} --install --now")
    assert asked(machine).strip('"\n') == framework

    proved = shell(f"venv/bin/sockact prove {name} --restart")
    assert "0 of " in proved
    print(f"{machine.name} {name}: {proved}")

    good = machine.read(f"{folder}/{project.module}")
    machine.write(f"{folder}/{project.module}", f"{good}\nraise RuntimeError('a bad release')\n")
    assert "Job for" in shell(f"systemctl reload {name}", status=1)
    assert asked(machine).strip('"\n') == framework
    assert "a bad release" in shell(f"venv/bin/sockact doctor {name}", status=1)

    machine.write(f"{folder}/{project.module}", good)
    shell(f"systemctl reload {name}")
    print(shell(f"venv/bin/sockact doctor {name}"))


def asked(machine: Machine) -> str:
    """Ask the service once, and return its answer."""
    url = f"http://127.0.0.1:{PORT}/"
    script = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=60).read().decode())"
    return machine.run("python3", "-c", script).stdout
