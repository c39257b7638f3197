"""A good and a bad unit for each rule of `sockact check`: a base, and the same with one change."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sockact.check import examine
from sockact.check.rule import Finding
from sockact.check.scope import Scope

CHECKOUT = Path(__file__).parents[2]

GUNICORN = """\
[Unit]
Description=shop
Requires=shop.socket
After=shop.socket network.target
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=/opt/shop/venv/bin/gunicorn --workers 4 shop:app
ExecReload=/bin/kill -s HUP $MAINPID
KillMode=mixed
TimeoutStopSec=60s
Restart=on-failure
RestartSec=2s
OOMPolicy=continue
DynamicUser=yes
WorkingDirectory=/opt/shop
RuntimeDirectory=shop
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
CapabilityBoundingSet=
SystemCallFilter=@system-service
LockPersonality=yes
"""
GUNICORN_SOCKET = """\
[Socket]
ListenStream=/run/shop.sock
SocketGroup=www-data
SocketMode=0660
TriggerLimitBurst=200

[Install]
WantedBy=sockets.target
"""
UVICORN = """\
[Unit]
Description=api
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=/opt/api/venv/bin/uvicorn --port 8000 --timeout-graceful-shutdown 30 api:app
Restart=on-failure
RestartSec=2s
User=api
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6

[Install]
WantedBy=multi-user.target
"""
PUMA = """\
[Unit]
Description=Puma
Requires=puma.socket
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
WatchdogSec=10
User=deploy
WorkingDirectory=/srv/rails/current
ExecStart=/usr/local/bin/bundle exec puma -C config/puma.rb
ExecReload=/bin/kill -USR1 $MAINPID
Restart=on-failure
RestartSec=2s
NoNewPrivileges=yes
ProtectSystem=full
ProtectHome=yes
PrivateDevices=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
"""
PUMA_SOCKET = """\
[Socket]
ListenStream=0.0.0.0:9292
NoDelay=true
Backlog=1024
TriggerLimitBurst=200

[Install]
WantedBy=sockets.target
"""


def shipped(name: str) -> str:
    return (CHECKOUT / "units" / name).read_text()


BASES: Mapping[str, Mapping[str, str]] = {
    "app": {"app.service": shipped("app.service"), "app.socket": shipped("app.socket")},
    "template": {"app@.service": shipped("app@.service"), "app@.socket": shipped("app@.socket")},
    "gunicorn": {"shop.service": GUNICORN, "shop.socket": GUNICORN_SOCKET},
    "uvicorn": {"api.service": UVICORN},
    "puma": {"puma.service": PUMA, "puma.socket": PUMA_SOCKET},
}
"""Units without errors and warnings."""


@dataclass(frozen=True)
class UnitCase:
    """A change that a rule finds.

    Args:
        rule: its name.
        base: the units before the change.
        old: the beginning of the assignment that is changed; empty for an addition to the section.
        new: the text in its place; in place of the whole assignment, if it ends with ` #` or is empty.
        unit: the suffix of the unit that is changed.
        section: the section to which it is added.
        version: the version of systemd.
        more: further units beside them.
    """

    rule: str
    base: str
    old: str
    new: str
    unit: str = ".service"
    section: str = "Service"
    version: int | None = None
    more: tuple[tuple[str, str], ...] = ()

    @property
    def good(self) -> dict[str, str]:
        return {**BASES[self.base], **dict(self.more)}

    @property
    def bad(self) -> dict[str, str]:
        units = self.good
        name = next(name for name in BASES[self.base] if name.endswith(self.unit))
        text = units[name]
        if self.old:
            begin = re.escape(self.old)
            whole = rf"^{begin}(?:.*\\\n)*.*\n"  # with the lines that continue it
            pattern = whole if not self.new or self.new.endswith(" #") else rf"^{begin}"
            new = self.new.removesuffix(" #") + ("\n" if self.new.endswith(" #") else "")
            assert re.search(pattern, text, re.MULTILINE), self
            units[name] = re.sub(pattern, lambda _: new, text, count=1, flags=re.MULTILINE)
        else:
            units[name] = text.replace(f"[{self.section}]\n", f"[{self.section}]\n{self.new}\n", 1)
        return units


def _cases() -> Iterator[UnitCase]:
    case = UnitCase
    socket = {"unit": ".socket", "section": "Socket"}
    # Start and readiness
    yield case("readiness-not-told", "app", "Type=notify", "Type=simple")
    yield case("readiness-not-told", "gunicorn", "Type=notify", "Type=exec")
    yield case("readiness-never-told", "uvicorn", "Type=exec", "Type=notify")
    yield case("readiness-never-told", "gunicorn", "Type=notify", "Type=forking")
    yield case("readiness-never-told", "gunicorn", "Type=notify", "Type=oneshot")
    yield case("start-always-succeeds", "uvicorn", "Type=exec", "")
    yield case("main-process-leaves", "gunicorn", "ExecStart=", "ExecStart=/usr/bin/gunicorn -D shop:app #")
    yield case(
        "shell-without-exec", "app", "ExecStart=", "ExecStart=sh -c 'cd /opt/app; sockact run app:app; :' "
    )
    yield case("shell-without-exec", "puma", "ExecStart=", "ExecStart=/bin/bash -lc 'bundle exec puma' #")
    yield case("wrapper-stays", "app", "ExecStart=/", "ExecStart=/usr/bin/uv run --no-sync /")
    yield case("wrapper-stays", "gunicorn", "ExecStart=/", "ExecStart=/usr/bin/sudo -u shop -E /")
    yield case("notify-access-none", "gunicorn", "NotifyAccess=main", "NotifyAccess=none")
    yield case("notify-access-all", "gunicorn", "NotifyAccess=main", "NotifyAccess=all")
    yield case("watchdog-without-pings", "gunicorn", "", "WatchdogSec=30")
    yield case("watchdog-during-start", "puma", "Type=notify", "Type=simple")
    yield case("watchdog-during-start", "app", "WatchdogSec=30s", "WatchdogSec=500ms")
    # Command line
    yield case("shell-syntax", "app", "", "ExecReloadPost=/bin/echo reloaded > /run/app/last")
    yield case(
        "shell-syntax", "uvicorn", "ExecStart=", "ExecStart=/bin/uvicorn api:app > /var/log/api 2>&1 "
    )
    yield case("several-commands", "uvicorn", "", "ExecStart=/usr/bin/true")
    yield case("no-command", "uvicorn", "ExecStart=", "")
    yield case("passed-sockets-ignored", "gunicorn", "ExecStart=", "ExecStart=/bin/uvicorn shop:app #")
    yield case(
        "address-beside-socket", "gunicorn", "ExecStart=", "ExecStart=/bin/gunicorn -b :80 shop:app #"
    )
    yield case(
        "port-needs-privilege", "uvicorn", "ExecStart=", "ExecStart=/bin/uvicorn --port 80 api:app #"
    )
    yield case("secret-in-unit", "uvicorn", "", "Environment=A=1 'SECRET_KEY=s e' B=2")
    yield case("output-is-lost", "uvicorn", "", "StandardError=null")
    # Reload
    yield case("reload-by-signal", "app", "ExecReload=", "ExecReload=/bin/kill -HUP $MAINPID #")
    yield case("reload-unconfirmed", "uvicorn", "", "ExecReload=kill -USR1 ${MAINPID}")
    yield case("reload-kills", "uvicorn", "", "ExecReload=/bin/kill -HUP $MAINPID")
    yield case("reload-kills", "uvicorn", "Type=exec", "Type=notify-reload")
    yield case("reload-missing", "app", "ExecReload=", "")
    yield case("reload-twice", "app", "Type=notify", "Type=notify-reload")
    yield case("reload-cannot-fail", "app", "Type=notify", "Type=notify-reload")
    yield case(
        "stop-fails-during-reload", "app", "ExecReload=/usr/bin/env --block-signal=TERM ", "ExecReload="
    )
    yield case("credentials-not-reloaded", "app", "", "LoadCredential=tls.key:/etc/app/tls.key")
    yield case("environment-not-reloaded", "app", "", "EnvironmentFile=/etc/app/env")
    # Stop and restart
    unheard = "TimeoutStopSec=30s\nType=exec\nNotifyAccess=none"
    yield case("stop-timeout-below-drain", "app", "TimeoutStopSec=60s", unheard)
    yield case("stop-timeout-below-drain", "gunicorn", "TimeoutStopSec=60s", "TimeoutStopSec=20s")
    yield case("drain-without-limit", "uvicorn", "ExecStart=", "ExecStart=/bin/uvicorn api:app #")
    yield case("stop-without-limit", "app", "TimeoutStopSec=60s", "TimeoutStopSec=infinity")
    yield case("kill-mode-control-group", "app", "KillMode=process", "KillMode=control-group")
    yield case("kill-mode-control-group", "gunicorn", "KillMode=mixed", "")
    yield case("kill-mode-leaves-processes", "gunicorn", "KillMode=mixed", "KillMode=process")
    yield case("kill-mode-leaves-processes", "app", "KillMode=process", "KillMode=none")
    yield case("kill-mode-leaves-processes", "app", "", "Environment=SOCKACT_WORKERS=0")
    yield case("listener-becomes-blocking", "app", "NonBlocking=yes", "")
    yield case("exit-type-waits", "app", "", "ExitType=cgroup")
    yield case("private-pids", "app", "", "PrivatePIDs=yes")
    yield case("restart-not-told", "app", "ExecStop=", "")
    yield case("processes-after-stop", "app", "ExecStopPost=", "")
    yield case("kill-signal-cuts", "gunicorn", "", "KillSignal=SIGQUIT")
    yield case("kill-signal-cuts", "gunicorn", "", "ExecStop=/bin/kill -9 $MAINPID")
    yield case("stop-by-signal", "gunicorn", "", "ExecStop=/bin/kill -s TERM $MAINPID")
    # Failures and limits
    yield case("failures-close-socket", "gunicorn", "StartLimitIntervalSec=0", "StartLimitIntervalSec=60")
    yield case("failures-end-service", "uvicorn", "StartLimitIntervalSec=0", "StartLimitIntervalSec=60")
    yield case("restart-without-pause", "gunicorn", "RestartSec=2s", "")
    yield case("restart-missing", "uvicorn", "Restart=on-failure", "")
    yield case(
        "restart-after-idle-exit",
        "app",
        "Restart=on-failure",
        "Restart=always\nEnvironment=SOCKACT_IDLE_EXIT=60s",
    )
    yield case("memory-ends-service", "gunicorn", "OOMPolicy=continue", "")
    yield case("few-descriptors", "app", "LimitNOFILE=65536", "LimitNOFILE=1024")
    yield case(
        "trigger-limit-off",
        "gunicorn",
        "TriggerLimitBurst=200",
        "TriggerLimitIntervalSec=0",
        **socket,
        more=(("shop.service", GUNICORN + "[Unit]\nConditionPathExists=/opt/shop\n"),),
    )
    yield case("trigger-limit-low", "gunicorn", "TriggerLimitBurst=200", "", **socket)
    # Service and socket
    yield case("socket-not-required", "app", "Requires=", "")
    yield case("socket-not-required", "template", "Requires=", "Wants=app@%i.socket #")
    yield case("order-missing", "uvicorn", "After=network-online.target", "")
    yield case("order-missing", "uvicorn", "", "Requires=postgresql.service", section="Unit")
    yield case("network-not-awaited", "uvicorn", "Wants=network-online.target", "")
    installed = "[Install]\nWantedBy=multi-user.target\n[Unit]"
    yield case("wanted-beside-socket", "gunicorn", "StartLimitIntervalSec=0", installed)
    yield case("also-missing", "gunicorn", "Requires=shop.socket", installed)
    yield case("stopped-when-unneeded", "app", "", "StopWhenUnneeded=yes", section="Unit")
    yield case("service-not-installed", "uvicorn", "[Install]\nWantedBy=multi-user.target", "")
    yield case("socket-not-installed", "app", "[Install]\nWantedBy=sockets.target", "", **socket)
    yield case("service-of-socket-missing", "gunicorn", "", "Service=shops.service", **socket)
    yield case("accepted-for-a-server", "app", "", "Accept=yes", **socket)
    # Socket
    yield case("reuse-port", "app", "", "ReusePort=yes", **socket)
    yield case("backlog-low", "app", "Backlog=4096", "Backlog=128", **socket)
    yield case("queue-flushed", "app", "", "FlushPending=yes", **socket)
    yield case("tcp-option-on-unix-socket", "gunicorn", "", "NoDelay=yes", **socket)
    yield case("socket-open-to-all", "gunicorn", "SocketMode=0660", "", **socket)
    yield case(
        "address-of-two-sockets",
        "app",
        "ListenStream=127.0.0.1:8000",
        "ListenStream=0.0.0.0:9292",
        **socket,
        more=(("p.socket", PUMA_SOCKET),),
    )
    yield case("no-address", "app", "ListenStream=", "", **socket)
    named = ("FileDescriptorName=web", "FileDescriptorName=agent")
    yield case("no-socket-for-app", "app", *named, **socket)
    yield case(
        "socket-in-runtime-directory", "gunicorn", "ListenStream=/run/", "ListenStream=/run/shop/", **socket
    )
    # Descriptor store and memory
    yield case("no-descriptor-store", "app", "FileDescriptorStoreMax=4096", "")
    yield case("store-not-told", "app", "Environment=FDSTORE=4096", "")
    yield case("store-numbers-differ", "app", "Environment=FDSTORE=4096", "Environment=FDSTORE=100")
    yield case("runtime-directory-not-kept", "app", "RuntimeDirectoryPreserve=restart", "")
    yield case("memory-high-not-below-max", "app", "", "MemoryMax=1G\nMemoryHigh=1G")
    yield case(
        "worker-limit-above-unit-limit",
        "app",
        "",
        "MemoryMax=500M\nEnvironment=SOCKACT_MAX_WORKER_MEMORY=1G",
    )
    # Folders
    yield case(
        "shared-runtime-directory",
        "app",
        "RuntimeDirectory=",
        "RuntimeDirectory=shop #",
        more=(("shop.service", GUNICORN),),
    )
    yield case("instances-share-directory", "template", "RuntimeDirectory=", "RuntimeDirectory=app #")
    yield case("private-tmp-keeps-port", "app", "", "PrivateTmp=yes")
    yield case("legacy-path", "gunicorn", "ListenStream=/run/", "ListenStream=/var/run/", **socket)
    yield case("working-directory-relative", "uvicorn", "", "WorkingDirectory=opt/api")
    yield case(
        "file-in-read-only-folder",
        "uvicorn",
        "ExecStart=",
        "ExecStart=/bin/gunicorn --pid /opt/pid api:app #",
    )
    # Sandbox
    yield case("runs-as-root", "uvicorn", "User=api", "")
    yield case("exposed", "uvicorn", "NoNewPrivileges=yes\nProtectSystem=strict", "")
    yield case("user-nobody", "uvicorn", "User=api", "User=nobody")
    yield case("private-network", "uvicorn", "", "PrivateNetwork=yes")
    yield case("private-network", "app", "", "PrivateNetwork=yes", **socket)
    yield case(
        "notify-socket-forbidden", "app", "RestrictAddressFamilies=AF_UNIX ", "RestrictAddressFamilies="
    )
    yield case(
        "address-family-forbidden",
        "uvicorn",
        "RestrictAddressFamilies=",
        "RestrictAddressFamilies=AF_UNIX #",
    )
    yield case("proxy-user-unknown", "app", "", "Environment=SOCKACT_TRUSTED_PROXIES=uid=www-data")
    yield case(
        "code-cannot-be-written", "app", "ExecStart=", "ExecStart=/usr/bin/pypy3 -m sockact run app:app #"
    )
    yield case("filter-misses-socket", "app", "", "IPAddressAllow=10.0.0.0/8")
    # Writing
    yield case("wrong-section", "gunicorn", "", "StartLimitIntervalSec=60")
    yield case("wrong-section", "app", "", "User=app", section="Unit")
    yield case("unknown-option", "app", "", "ExecRelaod=/bin/true")
    yield case("unknown-option", "app", "", "Frobnicate=yes")
    yield case("unknown-section", "app", "[Service]", "[Sevice]\nNice=1\n[Service]")
    yield case("option-too-new", "app", "", "RestartSteps=5", version=252)
    yield case("type-too-new", "app", "Type=notify", "Type=notify-reload", version=252)
    yield case("obsolete-option", "app", "", "MemoryLimit=1G")
    yield case("obsolete-option", "app", "", "CPUAccounting=yes", version=262)
    yield case("option-too-new", "app", "", "RefreshOnReload=credentials", version=257)
    yield case("percent-sign", "app", "", "ExecStartPre=/bin/sh -c 'date +%Y >/run/app/started'")
    yield case("value-not-understood", "app", "TimeoutStopSec=60s", "TimeoutStopSec=60 parsecs")
    yield case("value-not-understood", "app", "", "ReusePort=ja", **socket)


CASES = list(_cases())


def write(folder: Path, units: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in units.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def findings(folder: Path, *, version: int | None = None, here: bool = False) -> list[Finding]:
    """Return the findings in all units of a folder."""
    scope = Scope([str(folder)], here=here, version=version)
    names = sorted(path.name for path in folder.iterdir() if path.suffix in (".service", ".socket"))
    return examine.findings([(scope, scope.unit(name)) for name in names])


def names(found: list[Finding]) -> set[str]:
    return {each.rule.name for each in found}
