"""The part of a service that confines a compromised app; each option as all services of sockact have it."""

from __future__ import annotations

from sockact.units.unit_text import Group, UnitOption, UnitText
from sockact.units.wanted import Wanted

COMMON = (
    ("ProtectSystem", "strict"),
    ("ReadOnlyPaths", "/run"),
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
_FAMILIES = """The app may open connections, to a database for example. If it does not need to:
app-hardened.conf, `sockact units --hardened`."""
_SYSTEM = {
    False: "Everything is read-only except /run/%N, /var/cache/%N and temporary files; add"
    " StateDirectory=%N for data that the app keeps.",
    True: "Everything is read-only except /run/%N, /var/cache/%N, /var/lib/%N and temporary files.",
}
_RUN = """With options that mount /proc or /sys, as those below, systemd (252, 257) leaves /run as it is,
and everybody may write to /run/lock."""
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
        "ReadOnlyPaths": _RUN,
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


_HARDENED_HEAD = """A smaller sandbox for {service}, for an app that opens no connections and runs no
programs of its own making: copy this to /etc/systemd/system/{service}.d/hardened.conf{template}.

Each option says what it costs. For an app that needs it, delete that option. Passed sockets still work."""
_HARDENED_FOOT = "`systemd-analyze security {service}` gives the service an exposure of 0.2."
_ALONE = """The app has no network: it reaches its database and its cache by Unix sockets alone, and
resolves no names. (For others on this machine delete PrivateNetwork=, add IPAddressAllow=localhost, and
keep the service's RestrictAddressFamilies=, which the empty one here takes back.)"""
_DATA = """What the app can write it can neither run nor load as a library: no plugins, compiled code or
programs that it downloads or makes. Add the folders of your own ReadWritePaths=. (Not /run, /tmp or /var as
a whole: systemd, 252 and 257, takes a folder that has an option of its own out of ProtectSystem=strict.)"""
_SHARED = """Shared memory of its own, at most a tenth of the machine's memory. Everybody may write to the
machine's own /dev/shm."""
_BUS = "It asks no other service by D-Bus."
_CALLS = """Parts of the kernel that had many faults: io_uring, which uvloop does without, the keyrings,
userfaultfd. Nor may a process read the memory of another one by these calls, as some profilers do."""
_IO_URING = "io_uring_setup io_uring_enter io_uring_register"
_MEMORY = "process_vm_readv process_vm_writev"
_CORE = "The memory of a process, with keys and passwords in it, is not written to a disk when it crashes."


def hardened(wanted: Wanted) -> UnitText:
    """Return the drop-in for an app that needs less than most."""
    plain = wanted.service.replace("@", "")
    folders = ["/run/%N", "/var/cache/%N"]
    folders += ["/var/lib/%N"] if wanted.state else []
    folders += ["/tmp", "/var/tmp"] if wanted.dynamic else []  # else they are read-only, and shared
    lines = [
        UnitOption("PrivateNetwork", "yes", _ALONE),
        UnitOption("IPAddressDeny", "any"),
        UnitOption("RestrictAddressFamilies", ""),
        UnitOption("RestrictAddressFamilies", "AF_UNIX"),
        UnitOption("NoExecPaths", " ".join(folders), _DATA),
        UnitOption("TemporaryFileSystem", "/dev/shm:mode=1777,noexec", _SHARED),
        UnitOption("InaccessiblePaths", "-/run/dbus", _BUS),
        UnitOption("SystemCallFilter", f"~@keyring userfaultfd {_IO_URING} {_MEMORY}", _CALLS),
        UnitOption("LimitCORE", "0", _CORE),
    ]
    head = _HARDENED_HEAD.format(
        service=plain, template=f"; or for instances, to {plain.replace('.', '@.')}.d"
    )
    return UnitText(
        f"{wanted.service}.d/hardened.conf",
        head,
        [("Service", [lines])],
        _HARDENED_FOOT.format(service=plain),
    )
