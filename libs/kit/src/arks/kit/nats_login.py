"""How a service logs in to NATS: the options of its client, from the settings."""

import ssl
from functools import partial
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from arks.kit import nkeys
from arks.kit.settings import Settings


def login(settings: Settings) -> dict[str, Any]:
    """Return the arguments of nats.connect. The files are read now, so renewed ones count after a restart.

    Raises OSError if a file cannot be read, ssl.SSLError for one that is no certificate, and ValueError for one that is
    no key.
    """
    options: dict[str, Any] = {"servers": settings.nats_url.split(",")}
    if settings.nats_token_file:
        options["token"] = _text(settings.nats_token_file)
    if settings.nats_user:
        options["user"] = settings.nats_user
    if settings.nats_password_file:
        options["password"] = _text(settings.nats_password_file)
    if settings.nats_credentials_file:
        credentials = nkeys.read_credentials(_text(settings.nats_credentials_file))
        options["user_jwt_cb"] = credentials.jwt.encode
        options["signature_cb"] = partial(nkeys.sign, credentials.seed)
    if settings.nats_nkey_file:
        options["signature_cb"] = partial(nkeys.sign, _text(settings.nats_nkey_file))
    if (context := _tls(settings)) is not None:
        options["tls"] = context
    return options


def set_identity(client: Client, settings: Settings) -> None:
    """Give the client the public key of its nkey, for which its `connect` has no argument."""
    if settings.nats_nkey_file:
        client._public_nkey = nkeys.public_key(_text(settings.nats_nkey_file))


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """None: the client's own, which trusts the authorities of the system, and only if the server requires TLS."""
    if not settings.nats_ca_file and not settings.nats_certificate_file:
        return None
    context = ssl.create_default_context(cafile=settings.nats_ca_file and str(settings.nats_ca_file))
    if settings.nats_certificate_file:
        context.load_cert_chain(settings.nats_certificate_file, settings.nats_certificate_key_file)
    return context


def _text(path: Path) -> str:
    return path.read_text().strip()
