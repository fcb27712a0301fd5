"""Certificates that metrics signs itself, and the TLS context that serves with the newest. Keys stay in memory."""

import os
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=30)
RENEW_BEFORE = timedelta(days=10)
SKEW = timedelta(minutes=5)
"""How much later than ours the clock of the API server may be."""
MOST = 16
"""Certificates in a bundle: those of all replicas, and of replaced pods until they expire."""


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    pem: str
    private_key: bytes
    renew_at: datetime


def self_signed(host: str, now: datetime) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    until = now + VALID
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(until)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certificate(made.public_bytes(Encoding.PEM).decode(), private, until - RENEW_BEFORE)


def bundle_with(known: bytes, own: Certificate, now: datetime) -> str:
    """The bundle of `known` with `own`: without what has expired or cannot be read, at most MOST, the newest."""
    try:
        found = x509.load_pem_x509_certificates(known) if known.strip() else []
    except ValueError:
        found = []
    valid = [item for item in found if item.not_valid_after_utc > now]
    newest = sorted(valid, key=lambda item: item.not_valid_before_utc)[-MOST:]
    texts = [item.public_bytes(Encoding.PEM).decode() for item in newest]
    if own.pem not in texts:
        texts = [*texts, own.pem][-MOST:]
    return "".join(texts)


class ServingTls:
    """Mutual TLS with the newest certificate and clients' authorities; `use` changes them for new connections."""

    def __init__(self) -> None:
        self._newest: ssl.SSLContext | None = None
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.context.num_tickets = 0  # a resumed session would not check the client's certificate again
        self.context.sni_callback = self._choose

    def use(self, certificate: Certificate, clients_pem: str) -> None:
        """Raises ssl.SSLError if `clients_pem` has no certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(cadata=clients_pem)
        context.verify_mode = ssl.CERT_REQUIRED
        _load(context, certificate)
        self._newest = context

    def _choose(self, connection: ssl.SSLObject, _: str | None, __: ssl.SSLContext) -> int | None:
        if self._newest is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = self._newest
        return None


def _load(context: ssl.SSLContext, certificate: Certificate) -> None:
    """From a file in memory: `ssl` reads files only, and the key shall be on no disk."""
    file = os.memfd_create("certificate")
    try:
        os.write(file, certificate.private_key + certificate.pem.encode())
        context.load_cert_chain(f"/proc/self/fd/{file}")
    finally:
        os.close(file)
