"""Our own certificates, and handshakes with them in memory."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509

from arks.metrics.adapters.kubernetes.certificates import (
    MOST,
    VALID,
    Certificate,
    ServingTls,
    bundle_with,
    self_signed,
)

HOST = "arks-metrics.arks-system.svc"
NOW = datetime.now(UTC)


def pems(bundle: str) -> list[str]:
    return [part + "-----END CERTIFICATE-----\n" for part in bundle.split("-----END CERTIFICATE-----\n") if part]


def test_a_bundle_keeps_what_is_valid_and_has_each_once() -> None:
    first, second = self_signed(HOST, NOW), self_signed(HOST, NOW)
    bundle = bundle_with(b"", first, NOW)
    assert bundle == bundle_with(bundle.encode(), first, NOW)
    assert [first.pem, second.pem] == pems(bundle_with(bundle.encode(), second, NOW))


def test_a_bundle_drops_what_has_expired_and_what_cannot_be_read() -> None:
    old, new = self_signed(HOST, NOW), self_signed(HOST, NOW + VALID)
    later = NOW + VALID + timedelta(seconds=1)
    assert new.pem == bundle_with(old.pem.encode(), new, later)
    assert new.pem == bundle_with(b"-----BEGIN CERTIFICATE-----\nno\n-----END CERTIFICATE-----\n", new, later)


def test_a_bundle_is_bounded_and_has_the_newest() -> None:
    bundle, made = "", [self_signed(HOST, NOW + timedelta(seconds=number)) for number in range(MOST + 2)]
    for certificate in made:
        bundle = bundle_with(bundle.encode(), certificate, NOW)
    assert [certificate.pem for certificate in made[2:]] == pems(bundle)


def test_a_certificate_is_renewed_before_it_expires() -> None:
    made = self_signed(HOST, NOW)
    assert made.renew_at < x509.load_pem_x509_certificate(made.pem.encode()).not_valid_after_utc


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """The server's certificate. Raises ssl.SSLError of the side that refuses."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(to_server, to_client, server_side=True)
    theirs = client.wrap_bio(to_client, to_server, server_hostname=HOST)
    for _ in range(4):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ssl.DER_cert_to_PEM_cert(theirs.getpeercert(binary_form=True) or b"")


def client_of(authority: trustme.CA, trusted: Certificate) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=trusted.pem)
    authority.issue_cert("front-proxy", common_name="front-proxy-client").configure_cert(context)
    return context


def test_a_new_certificate_is_served_without_a_new_listener() -> None:
    authority, tls = trustme.CA(), ServingTls()
    listening = tls.context
    for certificate in (self_signed(HOST, NOW), self_signed(HOST, NOW)):
        tls.use(certificate, authority.cert_pem.bytes().decode())
        assert certificate.pem == handshake(listening, client_of(authority, certificate))


def test_a_client_of_another_authority_is_refused() -> None:
    authority, tls, certificate = trustme.CA(), ServingTls(), self_signed(HOST, NOW)
    tls.use(certificate, authority.cert_pem.bytes().decode())
    with pytest.raises(ssl.SSLError, match="verify failed"):
        handshake(tls.context, client_of(trustme.CA(), certificate))
    with pytest.raises(ssl.SSLError, match="did not return a certificate"):
        handshake(tls.context, ssl.create_default_context(cadata=certificate.pem))


def test_authorities_that_changed_are_in_force_for_new_connections() -> None:
    before, after, tls, certificate = trustme.CA(), trustme.CA(), ServingTls(), self_signed(HOST, NOW)
    tls.use(certificate, before.cert_pem.bytes().decode())
    tls.use(certificate, after.cert_pem.bytes().decode())
    handshake(tls.context, client_of(after, certificate))
    with pytest.raises(ssl.SSLError, match="verify failed"):
        handshake(tls.context, client_of(before, certificate))


def test_nothing_is_served_before_the_first_certificate() -> None:
    with pytest.raises(ssl.SSLError):
        handshake(ServingTls().context, client_of(trustme.CA(), self_signed(HOST, NOW)))
