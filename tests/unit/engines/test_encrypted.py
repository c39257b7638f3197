"""An app is told of a client's certificate."""

from __future__ import annotations

from typing import Any

import pytest

from sockact.engines.http.tls_transport import distinguished_name

Subject = tuple[tuple[tuple[str, str], ...], ...]


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        # Success cases, as RFC 4514 has them
        (((("commonName", "web-1"),),), "CN=web-1"),
        (((("countryName", "DE"),), (("organizationName", "A"),), (("commonName", "b"),)), "CN=b,O=A,C=DE"),
        (((("organizationalUnitName", "Sales"), ("commonName", "J. Smith")),), "OU=Sales+CN=J. Smith"),
        (((("domainComponent", "net"),), (("domainComponent", "example"),)), "DC=example,DC=net"),
        # What has to be escaped
        (((("commonName", 'a,b+c"d\\e<f>g;h=i'),),), r"CN=a\,b\+c\"d\\e\<f\>g\;h=i"),
        (((("commonName", " #x "),),), "CN=\\ #x\\ "),
        (((("commonName", "#x"),),), "CN=\\#x"),
        (((("commonName", " "),),), "CN=\\ "),
        (((("commonName", "a\0b"),),), "CN=a\\00b"),
        (((("commonName", "Lu\u010di\u0107"),),), "CN=Lu\u010di\u0107"),
        # An attribute that has no short name there
        (((("emailAddress", "a@b"),),), "emailAddress=a@b"),
        ((), ""),
    ],
)
def test_a_name_is_written_as_in_rfc_4514(subject: Subject, expected: str) -> None:
    certificate: dict[str, Any] = {"subject": subject}

    assert distinguished_name(certificate) == expected
