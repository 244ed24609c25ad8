"""``--tls self-signed``: a certificate for one run, by the ``cryptography`` package.

The key is written to one file, which only this user can read, and which is deleted after loading.
"""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Optional

from ..connection.transport import load_certificate

#: Valid for longer than any run, and from one day ago, since clocks differ.
_VALID, _BACK = timedelta(days=365), timedelta(days=1)


class NoLibrary(Exception):
    """The package that makes certificates is not installed; the text says what to do."""


def self_signed_context(host: Optional[str]) -> ssl.SSLContext:
    """A TLS context for a server, with a new certificate for a host and for this machine.

    Raises:
        NoLibrary: ``cryptography`` is not installed.
    """
    certificate, key = _make(["localhost", "127.0.0.1", "::1", *filter(None, [host])])
    with tempfile.TemporaryDirectory(prefix="mmdagent-remote-") as directory:
        file = Path(directory) / "certificate.pem"
        file.touch(0o600)
        file.write_bytes(certificate + key)
        return load_certificate(str(file), None)


def _make(hosts: list[str]) -> tuple[bytes, bytes]:
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise NoLibrary("--tls self-signed needs a package: "
                        "python -m pip install cryptography") from error
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "mmdagent-remote")])
    names: list[x509.GeneralName] = []
    for host in dict.fromkeys(hosts):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            if host.isascii():
                names.append(x509.DNSName(host))
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACK).not_valid_after(now + _VALID)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256()))
    return (certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                              serialization.NoEncryption()))
