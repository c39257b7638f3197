import errno
import socket

import pytest

from sockact.probe.outcome import Outcome
from sockact.probe.wire import _unserved, resolve


@pytest.mark.parametrize(
    ("number", "connecting", "talking"),
    [
        (errno.ECONNREFUSED, Outcome.REFUSED, Outcome.RESET),
        (errno.ENOENT, Outcome.REFUSED, Outcome.RESET),
        (errno.ECONNRESET, Outcome.RESET, Outcome.RESET),
        (errno.EPIPE, Outcome.REFUSED, Outcome.RESET),
        (errno.ETIMEDOUT, Outcome.TIMEOUT, Outcome.TIMEOUT),
    ],
)
def test_each_errno_has_one_outcome_in_each_call(number, connecting, talking):
    error = OSError(number, "as the kernel says")

    assert _unserved("connect", error, Outcome.REFUSED).outcome is connecting
    assert _unserved("recv", error, Outcome.RESET).outcome is talking


def test_a_loss_names_the_call_and_the_errno():
    error = _unserved("send", OSError(errno.EPIPE, "Broken pipe"), Outcome.RESET)

    assert str(error) == "reset: send: EPIPE"


def test_a_url_gives_target_host_and_path():
    address = resolve("http://127.0.0.1:8000/health?full=1")

    assert (address.family, address.target) == (socket.AF_INET, ("127.0.0.1", 8000))
    assert (address.host, address.path) == ("127.0.0.1:8000", "/health?full=1")


def test_an_ipv6_address_stands_in_brackets():
    address = resolve("http://[::1]:8000")

    assert (address.family, address.host, address.path) == (socket.AF_INET6, "[::1]:8000", "/")


def test_https_is_tls_on_its_own_port():
    address = resolve("https://127.0.0.1")

    assert (address.target, address.tls) == (("127.0.0.1", 443), True)
    assert not resolve("http://127.0.0.1").tls


def test_a_unix_socket_is_a_path():
    address = resolve("unix:/run/app.sock")

    assert (address.family, address.target, address.host) == (socket.AF_UNIX, "/run/app.sock", "localhost")


@pytest.mark.parametrize("url", ["ftp://localhost", "localhost:8000", "http://", "unix:relative", ""])
def test_anything_else_is_no_address(url):
    with pytest.raises(ValueError, match=r"is neither http\[s\]://HOST"):
        resolve(url)
