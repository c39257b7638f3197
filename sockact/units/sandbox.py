"""The part of a service that confines a compromised app; each option as all services of sockact have it."""

from __future__ import annotations

from sockact.units.unit_text import Group, UnitOption
from sockact.units.wanted import Wanted

COMMON = (
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("ProtectProc", "invisible"),
    ("ProcSubset", "pid"),
    ("ProtectClock", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("KeyringMode", "private"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("RemoveIPC", "yes"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged @resources"),
    ("SystemCallErrorNumber", "EPERM"),
)
"""For the app, and for the unit that reloads it."""

_INTRODUCTION = (
    "The rest confines a compromised app. systemd makes the listening socket outside of this sandbox."
)
_DYNAMIC = """DynamicUser=yes implies a private /tmp. No PrivateTmp=yes: systemd 254 and later remove that
in a process that holds the listening socket meanwhile, and one restart of the socket in five failed
("Address already in use")."""
_USER = """No PrivateTmp=yes: systemd 254 and later remove that in a process that holds the listening socket
meanwhile, and one restart of the socket in five failed ("Address already in use"). /tmp is read-only."""
_FAMILIES = """The app may open connections, to a database for example. If it does not need to, use
PrivateNetwork=yes, IPAddressDeny=any and AF_UNIX alone; passed sockets still work."""
_SYSTEM = {
    False: "Everything is read-only except /run/%N and /var/cache/%N; add StateDirectory=%N for data that"
    " the app keeps.",
    True: "Everything is read-only except /run/%N, /var/cache/%N and /var/lib/%N.",
}
_HOME = "Also hides interpreters that pyenv or uv installed for a user."
_EXECUTE = "Not for PyPy or numba, which write code at run time."


OF_USERS = (
    "LockPersonality",
    "MemoryDenyWriteExecute",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "SystemCallArchitectures",
    "SystemCallFilter",
    "SystemCallErrorNumber",
)
"""Those that a user's manager can do, which has no privileges: they are filters of system calls."""


def sandbox(wanted: Wanted) -> Group:
    """Return the options that confine the service."""
    if wanted.of_user:
        return [
            UnitOption("UMask", "0077"),
            UnitOption("NoNewPrivileges", "yes"),
            *(
                UnitOption(name, value, _EXECUTE if name == "MemoryDenyWriteExecute" else "")
                for name, value in COMMON
                if name in OF_USERS
            ),
        ]
    reasons = {
        "ProtectSystem": _SYSTEM[wanted.state],
        "ProtectHome": _HOME,
        "MemoryDenyWriteExecute": _EXECUTE,
    }
    return [
        *_user(wanted),
        UnitOption("UMask", "0077"),
        UnitOption("NoNewPrivileges", "yes"),
        UnitOption("CapabilityBoundingSet", ""),
        UnitOption("AmbientCapabilities", ""),
        UnitOption("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6", _FAMILIES),
        UnitOption("PrivateDevices", "yes"),
        UnitOption("DevicePolicy", "closed"),
        UnitOption("PrivateIPC", "yes"),
        *_own_users(wanted),
        *(UnitOption(name, value, reasons.get(name, "")) for name, value in COMMON),
    ]


def _user(wanted: Wanted) -> Group:
    if wanted.dynamic:
        return [UnitOption("DynamicUser", "yes", f"{_INTRODUCTION}\n{_DYNAMIC}")]
    return [UnitOption("User", wanted.user, f"{_INTRODUCTION}\n{_USER}")]


def _own_users(wanted: Wanted) -> Group:
    """Return nothing where a proxy is trusted by its user: the service has to see other users."""
    proxies = wanted.settings.trusted_proxies
    return [] if any(each.startswith("uid=") for each in proxies) else [UnitOption("PrivateUsers", "yes")]
