"""Files beside a service: a drop-in for TLS, and the units of a deploy by file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from sockact.errors import UnitsError
from sockact.units import syntax
from sockact.units.sandbox import COMMON
from sockact.units.service import RELOAD
from sockact.units.unit_text import Group, UnitOption, UnitText
from sockact.units.wanted import Wanted

SETTLE = "/usr/local/sbin/sockact-settle"
"""The place of the script that waits for the end of a deploy."""

_TLS_HEAD = """TLS for {service}: copy this to /etc/systemd/system/{service}.d/tls.conf{template}.

All listeners then speak TLS except those that their socket unit names http (FileDescriptorName=),
health or agent. A second socket unit with Service={service} and FileDescriptorName=http serves the app on
port 80 without TLS, or, with SOCKACT_REDIRECT_HTTP=443, sends clients to https.

For a new certificate, put both files in place, and `systemctl reload {name}`. No client waits. If key and
certificate do not match, half written perhaps, the reload fails and the old pair stays, also for
processes that start later. (A reload by `sockact reload {name}` or SIGHUP, without systemd, brings new
code but no new pair.)"""
_ROOT = """Only root can read the files. At each start and reload root joins them to one file, so that no
process reads half of a new pair, in a separate folder that the service's group may read. Not in
/run/{name}: the service owns it, and the owner of a folder can put a link there under the name that root
is about to write, and so choose the file that root writes. ($RUNTIME_DIRECTORY only tells the group; a
user cannot give a folder to a group that he is not in.) The app's environment is not used, since its
PATH= or OPENSSL_CONF= may name folders of others; what would take effect before that, as LD_PRELOAD=,
{service} unsets. (A stop sends SIGTERM, which would be a failure, see ExecReload= in {service}.)"""
_AS_BEFORE = "As in {service}: without the first of the two a reload would not see the new files."
_JOIN = """+/usr/bin/env -i --block-signal=TERM RUNTIME_DIRECTORY=${{RUNTIME_DIRECTORY}} \\
    PATH=/usr/bin:/bin /bin/sh -euc 'umask 027; mkdir -p /run/%N.tls; cd /run/%N.tls; \\
    {{ cat {certificate}; echo; cat {key}; }} >new; \\
    chgrp --reference="$${{RUNTIME_DIRECTORY%%%%:*}}" . new; mv new tls.pem'"""
_RENEW = """+/usr/bin/env -i --block-signal=TERM PATH=/usr/bin:/bin /bin/sh -euc '\\
    umask 027; cd /run/%N.tls; {{ cat {certificate}; echo; cat {key}; }} >new; \\
    key=$$(openssl pkey -in new -passin pass: -pubout); \\
    [ "$$(openssl x509 -in new -noout -pubkey)" = "$$key" ] || \\
    {{ echo "{key}: this key does not belong to {certificate}: the old pair stays" >&2; exit 1; }}; \\
    chgrp --reference=. new; mv new tls.pem'"""
_TLS_FOOT = """To serve only clients with a certificate (mutual TLS), name the file of their authorities,
readable for all:
#Environment=SOCKACT_TLS_CLIENT_CA={folder}/ca.crt

systemd 260 and later load both files anew at each reload, with these lines, without their number signs,
instead of those above. A pair that does not match is refused as well; but then a process that takes the
place of a dead one does not start either, until a reload brings a pair that matches.
#LoadCredential=tls.crt:{certificate}
#LoadCredential=tls.key:{key}
#RefreshOnReload=credentials
#Environment=SOCKACT_TLS_CERTIFICATE=tls.crt SOCKACT_TLS_KEY=tls.key"""

_PATH_HEAD = """Reloads {what} when a new release is in place, however it was deployed.

  install units/settle {settle}
  systemctl enable --now {name}-deploy.path"""
_WATCHED = """Watches the entries of this folder, and not those of the folders below. Not the link {path}:
systemd (252, 257) watches its target, and does not notice that the link is switched to another one."""
_OFTEN = "No limit, since a copy of many files triggers often; the service runs once for all of them."
_DEPLOY_HEAD = """Started by {name}-deploy.path: reloads {what} once when its release has settled. It
fails if the reload was refused; OnFailure= can send an alert."""
_FAILURES = "Each failure is a failed deploy. With a limit, those after the fifth would not be reported."
_SETTLING = """Two seconds without a change: so a release is copied completely first, and a burst of
changes is one reload. Other changes in the folder are ignored. Best is a link to the release that is
switched in one step: ln -sT releases/43 new && mv -T new current, with --chdir {folder}/current in
{service}. A missing path is ignored. A service that does not run is not started: its next start takes the
new code anyway. One that is starting may have read the old code, and systemd (252, 257) would not reload
it: its start is waited for."""
_NEVER = """The limit is for paths that never settle, since something else than a deploy writes there.
Paths that cannot be a release, a link to /, to another filesystem or to more than 100,000 files
(Environment=SETTLE_ENTRIES=), fail too."""
_AS_ROOT = """It only looks at files and asks systemd. Differences from the sandbox of {service}: it runs
as root, since systemd obeys only root, and has CAP_DAC_READ_SEARCH for releases that not every user may
read; so there is no User= and no PrivateUsers=yes, under which such files have an unknown owner. It opens
no connection, and writes only its record."""
_RELOAD_COMMAND = """{settle} 2 ${{RUNTIME_DIRECTORY}}/seen {paths} -- /bin/sh -c '\\
  while [ "$$(systemctl is-active {service})" = activating ]; do \\
  echo "{service} is starting"; sleep 1; done; \\
  exec systemctl try-reload-or-restart {service}'"""


def tls(wanted: Wanted) -> UnitText:
    """Return the drop-in that gives the service a certificate that only root can read."""
    certificate, key = (_of_shell(wanted, path) for path in wanted.certificate or ())
    plain = wanted.service.replace("@", "")
    templated = plain.replace(".", "@.")
    paths = {"certificate": certificate, "key": key, "folder": os.path.dirname(certificate)}
    sockact = syntax.command([wanted.by_name(f"{wanted.venv}/bin/sockact")], specifiers=True)
    lines = [
        UnitOption("Environment", "SOCKACT_TLS_CERTIFICATE=/run/%N.tls/tls.pem"),
        UnitOption("ExecStartPre", _JOIN.format(**paths), _ROOT.format(name=wanted.name, service=plain)),
        UnitOption("ExecReload", ""),
        UnitOption("ExecReload", _RENEW.format(**paths)),
        UnitOption("ExecReload", RELOAD.format(sockact), _AS_BEFORE.format(service=plain)),
        UnitOption("ExecStopPost", "+/bin/rm -rf /run/%N.tls"),
    ]
    head = _TLS_HEAD.format(
        name=wanted.name, service=plain, template=f"; or for instances, to {templated}.d"
    )
    return UnitText(f"{wanted.service}.d/tls.conf", head, [("Service", [lines])], _TLS_FOOT.format(**paths))


def deploy(wanted: Wanted, what: str) -> list[UnitText]:
    """Return the units that reload the service when a release has changed; `what` names it in comments."""
    return [_path_unit(wanted, what), _deploy_service(wanted, what)]


def _path_unit(wanted: Wanted, what: str) -> UnitText:
    head = _PATH_HEAD.format(name=wanted.name, what=what, settle=SETTLE)
    folders: dict[str, str] = {}
    for path in wanted.releases:
        folders.setdefault(os.path.dirname(path), path)
    watched = [
        UnitOption("PathChanged", syntax.text(folder, "--deploy-path"), _WATCHED.format(path=path))
        for folder, path in folders.items()
    ]
    sections: list[tuple[str, Sequence[Group]]] = [
        ("Unit", [[UnitOption("Description", f"Releases of {what}")]]),
        ("Path", [[*watched, UnitOption("TriggerLimitIntervalSec", "0", _OFTEN)]]),
        ("Install", [[UnitOption("WantedBy", "multi-user.target")]]),
    ]
    return UnitText(f"{wanted.name}-deploy.path", head, sections)


def _deploy_service(wanted: Wanted, what: str) -> UnitText:
    names = {"name": wanted.name, "service": wanted.service}
    paths = syntax.command(wanted.releases)
    command = _RELOAD_COMMAND.format(settle=SETTLE, paths=paths, **names)
    folder = os.path.dirname(wanted.releases[0])
    work = [
        UnitOption("Type", "oneshot"),
        UnitOption("ExecStart", command, _SETTLING.format(folder=folder, **names)),
        UnitOption("RuntimeDirectory", f"{wanted.name}-deploy"),
        UnitOption("RuntimeDirectoryPreserve", "yes"),
        UnitOption("TimeoutStartSec", "15min", _NEVER),
        UnitOption("UMask", "0077", _AS_ROOT.format(**names)),
        UnitOption("NoNewPrivileges", "yes"),
        UnitOption("CapabilityBoundingSet", "CAP_DAC_READ_SEARCH"),
        UnitOption("AmbientCapabilities", ""),
        UnitOption("RestrictAddressFamilies", "AF_UNIX"),
        UnitOption("IPAddressDeny", "any"),
        UnitOption("PrivateNetwork", "yes"),
        UnitOption("PrivateDevices", "yes"),
        UnitOption("DevicePolicy", "closed"),
        UnitOption("PrivateIPC", "yes"),
        UnitOption("PrivateTmp", "yes"),
        *(UnitOption(name, value) for name, value in COMMON if name != "RemoveIPC"),
    ]
    unit = [
        UnitOption("Description", f"Reload of {what}"),
        UnitOption("StartLimitIntervalSec", "0", _FAILURES),
    ]
    head = _DEPLOY_HEAD.format(what=what, **names)
    return UnitText(f"{wanted.name}-deploy.service", head, [("Unit", [unit]), ("Service", [work])])


def _of_shell(wanted: Wanted, path: str) -> str:
    """Return a path for a shell's command line within the quotes of a unit: few characters can be in it."""
    if not re.fullmatch(r"[A-Za-z0-9_./@+-]+", path):
        raise UnitsError(
            f"--tls {path!r}: expected a path of letters, digits and _./@+-, such as a link to it"
        )
    return wanted.by_name(path)
