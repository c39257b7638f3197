"""The service and its socket units, with the reason for each line that is not obvious."""

from __future__ import annotations

import math

from sockact.units import reasons, syntax
from sockact.units.addresses import ListenAddress, SocketGroup
from sockact.units.sandbox import sandbox
from sockact.units.unit_text import Group, UnitOption, UnitText
from sockact.units.wanted import OF_THE_LOADER, Wanted

STORE = 4096
"""Descriptors that systemd keeps for a service."""

TELLS_STORE = 254
"""The first systemd that tells a service how many it keeps: sd_pid_notify_with_fds(3), $FDSTORE."""

RELOAD = "/usr/bin/env --block-signal=TERM {} reload"

TCP = (
    UnitOption("NoDelay", "yes", reasons.INHERITED),
    UnitOption("KeepAlive", "yes"),
    UnitOption("KeepAliveTimeSec", "180"),
)
"""Options of TCP sockets."""

OF_UNIX = ("SocketUser", "SocketMode", "DirectoryMode")
"""Options of an existing unit that are for Unix sockets alone."""

_ASK = "/usr/bin/systemctl list-jobs --plain --no-legend"
_STOP_COMMAND = """+/usr/bin/env -i MAINPID=${{MAINPID}} /bin/sh -c 'ask="{ask}"; \\
    case "$($ask %n {sockets})" in *".socket "*) exit ;; *" restart "*) ;; *) exit ;; esac; \\
    kill -s URG $MAINPID; \\
    [ "$(/usr/bin/systemctl show --property=KillMode --value %n)" = process ] || (trap "" TERM; turn=0; \\
    while sleep 0.03 && kill -s 0 $MAINPID 2>/dev/null; do turn=$((turn + 1)); \\
    [ $turn = 7 ] || continue; turn=0; jobs="$($ask %n)" || continue; \\
    case "$jobs" in *"start "*) ;; *) kill -s URG $MAINPID; exit ;; esac; done) &'"""
_STOPPED_COMMAND = f"""-+/usr/bin/env -i RESULT=${{SERVICE_RESULT}}-${{EXIT_STATUS}} /bin/sh -c '\\
    jobs="$({_ASK} %n)"; \\
    case "$RESULT $jobs" in *-75* | *"start "*) exit ;; *" stop "* | success*) ;; *) exit ;; esac; \\
    cd /sys/fs/cgroup"$(sed -n s/^0:://p /proc/self/cgroup)" || exit; \\
    for turn in 1 2 3; do others=; \\
    while read -r pid; do [ $pid = $$$$ ] || others="$others $pid"; done <cgroup.procs; \\
    [ "$others" ] || exit 0; kill -s KILL $others 2>/dev/null; sleep 0.1; done; \\
    echo 1 2>/dev/null >cgroup.kill; :'"""


def service(wanted: Wanted, head: str, description: str) -> UnitText:
    """Return the service; `head` is the comment at the top."""
    sockets = " ".join(map(wanted.socket_of_service, wanted.groups))
    unit = [
        UnitOption("Description", syntax.text(description, "Description", specifiers=True)),
        UnitOption("Requires", sockets, reasons.REQUIRES),
        UnitOption("After", sockets if wanted.of_user else f"{sockets} network.target"),
        UnitOption("StartLimitIntervalSec", "0", reasons.NO_LIMIT),
        *_carried(wanted, "Unit"),
    ]
    groups = [
        [*_commands(wanted, sockets), *_folders(wanted), *_environment(wanted)],
        [*_limits(wanted), *_killing(wanted), *_store(wanted)],
        sandbox(wanted),
        _carried(wanted, "Service"),
    ]
    return UnitText(wanted.service, head, [("Unit", [unit]), ("Service", groups)])


def socket(wanted: Wanted, group: SocketGroup, head: str, description: str) -> UnitText:
    """Return the socket unit for some addresses."""
    kind = group.addresses[0].kind
    lines = [
        *(UnitOption(each.option, _address(wanted, each)) for each in group.addresses),
        UnitOption("FileDescriptorName", group.addresses[0].name),
        *([UnitOption("Service", wanted.service.replace("@.", "@%i."))] if group.suffix else []),
        *([UnitOption("Backlog", "4096", reasons.BACKLOG)] if kind != "udp" else []),
        UnitOption("TriggerLimitBurst", "200", reasons.TRIGGER),
        *_of_kind(wanted, group),
    ]
    unit = [UnitOption("Description", syntax.text(description, "Description", specifiers=True))]
    if any(each.name in ("SocketUser", "SocketGroup") for each in lines):
        unit += _after_ports(wanted)
    install = [UnitOption("WantedBy", "sockets.target")]
    sections = [("Unit", [unit]), ("Socket", [lines]), ("Install", [install])]
    return UnitText(wanted.socket(group), head, sections)


def _address(wanted: Wanted, address: ListenAddress) -> str:
    return syntax.text(address.value, "--listen", specifiers=wanted.template)


def _after_ports(wanted: Wanted) -> Group:
    others = [each for each in wanted.groups if each.addresses[0].kind != "unix"]
    names = " ".join(wanted.socket(each).replace("@.", "@%i.") for each in others)
    return [UnitOption("After", names, reasons.AFTER_PORTS)] if names else []


def _of_kind(wanted: Wanted, group: SocketGroup) -> Group:
    """Return the options that only some kinds of sockets have; those of an existing unit win."""
    kind = group.addresses[0].kind
    own = {"tcp": TCP, "udp": [], "unix": _permissions(wanted)}[kind]
    if any(each.bound for each in group.addresses):
        own = [*own, UnitOption("FreeBind", "yes", reasons.FREE_BIND)]
    carried = [each for each in _carried(wanted, "Socket") if (each.name in OF_UNIX) == (kind == "unix")]
    names = {each.name for each in carried}
    return [*(each for each in own if each.name not in names), *carried]


def _permissions(wanted: Wanted) -> Group:
    if wanted.socket_group:
        return [UnitOption("SocketGroup", wanted.socket_group), UnitOption("SocketMode", "0660")]
    return [UnitOption("SocketMode", "0666", reasons.EVERYBODY)]


def _commands(wanted: Wanted, sockets: str) -> Group:
    sockact = syntax.command([wanted.by_name(f"{wanted.venv}/bin/sockact")], specifiers=True)
    return [
        UnitOption("Type", "notify", reasons.TYPE),
        UnitOption("NotifyAccess", "main"),
        UnitOption("ExecStart", wanted.words()),
        UnitOption("ExecReload", RELOAD.format(sockact), reasons.RELOAD),
        *([] if wanted.of_user else _stop_commands(sockets)),
    ]


def _stop_commands(sockets: str) -> Group:
    """Return what root has to do in a stop; a user's manager answers the service itself."""
    return [
        UnitOption("UnsetEnvironment", " ".join(OF_THE_LOADER[:6]), reasons.UNSET),
        UnitOption("UnsetEnvironment", " ".join(OF_THE_LOADER[6:])),
        UnitOption("ExecStop", _STOP_COMMAND.format(ask=_ASK, sockets=sockets), reasons.STOP),
        UnitOption("SuccessExitStatus", "75", reasons.STATUS),
        UnitOption("ExecStopPost", _STOPPED_COMMAND),
    ]


def _folders(wanted: Wanted) -> Group:
    return [
        UnitOption("RuntimeDirectory", "%N", reasons.RUNTIME),
        UnitOption("RuntimeDirectoryPreserve", "restart"),
        *([UnitOption("StateDirectory", "%N", reasons.STATE)] if wanted.state else []),
        *([] if wanted.of_user else _temporary()),
    ]


def _temporary() -> Group:
    return [
        UnitOption("CacheDirectory", "%N", reasons.CACHE),
        UnitOption("Environment", "TMPDIR=%C/%N"),
    ]


def _environment(wanted: Wanted) -> Group:
    return [UnitOption("Environment", syntax.assignment(name, value)) for name, value in wanted.environment]


def start_seconds(wanted: Wanted) -> int:
    """Return the seconds that systemd gives a start or a reload: more than the service does."""
    chosen = wanted.settings
    return _rounded(chosen.start_timeout + max(30, chosen.probation))


def stop_seconds(wanted: Wanted) -> int | None:
    """Return the seconds that systemd gives a stop, more than the service does; None for no limit."""
    chosen = wanted.settings
    if chosen.drain_timeout is None:
        return None
    return _rounded(chosen.drain_delay + chosen.drain_timeout + 5 * chosen.shutdown_timeout + 2)


def _limits(wanted: Wanted) -> Group:
    chosen, stop = wanted.settings, stop_seconds(wanted)
    drain = "no limit" if chosen.drain_timeout is None else f"{chosen.drain_timeout:g} s"
    why = reasons.STOP_LIMIT.format(drain=drain, end=f"{chosen.shutdown_timeout:g}")
    start = reasons.START.format(start=f"{chosen.start_timeout:g}")
    return [
        UnitOption("TimeoutStartSec", f"{start_seconds(wanted)}s", start),
        UnitOption("TimeoutStopSec", "infinity" if stop is None else f"{stop}s", why),
        UnitOption("WatchdogSec", "30s", reasons.WATCHDOG),
        UnitOption("Restart", "on-failure"),
        UnitOption("RestartSec", "2s"),
    ]


def _rounded(seconds: float) -> int:
    return math.ceil(seconds / 10) * 10


def _killing(wanted: Wanted) -> Group:
    if wanted.settings.workers == 0:
        mode = [UnitOption("KillMode", "mixed", reasons.KILL_ALONE)]
    elif wanted.of_user:
        mode = [
            UnitOption("KillMode", "mixed", reasons.KILL_USERS),
            UnitOption("ExitType", "cgroup", reasons.EXIT),
        ]
    else:
        mode = [UnitOption("KillMode", "process", reasons.KILL)]
    return [
        *mode,
        UnitOption("NonBlocking", "yes", reasons.NONBLOCKING),
        UnitOption("OOMPolicy", "continue", reasons.OOM),
    ]


def _store(wanted: Wanted) -> Group:
    told = wanted.version >= TELLS_STORE
    return [
        UnitOption(
            "FileDescriptorStoreMax",
            str(STORE),
            reasons.KEPT if told else f"{reasons.KEPT} {reasons.KEPT_BOTH}",
        ),
        *([] if told else [UnitOption("Environment", f"FDSTORE={STORE}")]),
        *([] if wanted.of_user else [UnitOption("LimitNOFILE", "65536")]),
    ]


def _carried(wanted: Wanted, section: str) -> Group:
    return [UnitOption(name, value) for name, value in wanted.carried.get(section, ())]
