"""Certificates for tests: an authority, a server on this machine, and a client, all newly made."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.gateway.upstream.raw_server import HOST


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: the authority's certificate, and certificates with their keys in one file."""

    authority: Path
    server: Path
    client: Path

    def server_context(self, *, asks_client: bool = False) -> ssl.SSLContext:
        """Return what a server on this machine uses; one that `asks_client` needs the client's."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        context.load_cert_chain(self.server)
        if asks_client:
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def make_certificates(folder: Path) -> Certificates:
    """Write an authority and what it signed."""
    authority, authority_key = _signed("authority", None, None)
    made = Certificates(folder / "authority.pem", folder / "server.pem", folder / "client.pem")
    made.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for path, name in ((made.server, "localhost"), (made.client, "gateway")):
        certificate, key = _signed(name, authority, authority_key)
        path.write_bytes(_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
    return made


def _signed(
    name: str, issuer: x509.Certificate | None, issuer_key: ec.EllipticCurvePrivateKey | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address(HOST))]
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    return builder.sign(issuer_key or key, hashes.SHA256()), key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
