#!/usr/bin/python3
"""Put the libraries into a folder that this Debian has not, or not new enough: debian/bundle.py FOLDER.

They come from debian/wheels, which units/package has filled. Those that Debian has become dependencies.
Debian 12 has uvloop 0.17, and websockets 10 without the server that does no I/O; both releases have
httptools 0.1, which stands on a parser of HTTP that Node.js has given up.
"""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

LIBRARIES = ("httptools", "uvloop", "websockets")
UNUSED = (".c", ".h", ".pxd", ".pyi", ".pyx")
"""Endings of files that a wheel has for those who compile or type-check against it."""


def debian_version(library: str) -> str:
    """Return Debian's version of a library, without what Debian adds."""
    command = ["dpkg-query", "--show", "--showformat=${Version}", f"python3-{library}"]
    version = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.sub(r"(\+ds.*)?-[^-]*$", "", version.rpartition(":")[2])


def meets(version: str, least: str) -> bool:
    return subprocess.run(["dpkg", "--compare-versions", version, "ge", least], check=False).returncode == 0


def unpack(library: str, folder: Path) -> None:
    (wheel,) = Path("debian/wheels").glob(f"{library}-*.whl")
    print(f"debian/bundle.py: {wheel.name}")
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(f"{library}/") and not name.endswith(UNUSED):
                archive.extract(name, folder)


def main(folder: Path) -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    bounds = dict(each.split(">=") for each in project["dependencies"])
    depends = []
    for library in LIBRARIES:
        if meets(debian_version(library), bounds[library]):
            depends.append(f"python3-{library} (>= {bounds[library]})")
        else:
            unpack(library, folder)
    with Path("debian/sockact.substvars").open("a") as substvars:
        substvars.write(f"sockact:Depends={', '.join(depends)}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
