"""The rules, by subject; importing this package declares all of them."""

from sockact.check.rules import (
    activation,
    directories,
    execution,
    limits,
    memory,
    reach,
    readiness,
    reloading,
    sandbox,
    sockets,
    stopping,
    writing,
)

SUBJECTS = {
    "Start and readiness": readiness,
    "Command line": execution,
    "Reload": reloading,
    "Stop and restart": stopping,
    "Failures and limits": limits,
    "Service and socket": activation,
    "Socket": sockets,
    "Descriptor store and memory": memory,
    "Folders": directories,
    "Files and users of this machine": reach,
    "Sandbox": sandbox,
    "Writing": writing,
}
"""The modules with rules, by their headings in docs/check.md."""
