"""Keeps the external metrics API trusted: our certificate in the APIService, the API server's authority in our TLS.

Each replica of metrics signs a certificate of its own and adds it to the APIService's `caBundle`. So no private key is
shared or stored, and no right to read Secrets is needed.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import Collection

import structlog

from arks.kit.clock import Clock
from arks.kit.errors import ArksError, Conflict, Invalid, NotFound
from arks.kit.key import Key
from arks.kit.kube.api import KubeApi
from arks.kit.kube.kinds import Kind
from arks.metrics.adapters.kubernetes.certificates import Certificate, ServingTls, bundle_with, self_signed
from arks.metrics.domain.scaling.external import GROUP, VERSION

log = structlog.get_logger(__name__)

API_SERVICE = Kind("apiregistration.k8s.io", "v1", "APIService", "apiservices", namespaced=False)
NAME = f"{VERSION}.{GROUP}"
CONFIG_MAP = Kind("", "v1", "ConfigMap", "configmaps")
FRONT_PROXY = Key("kube-system", "extension-apiserver-authentication")
"""Where the API server publishes by which certificate it is recognised."""
CHECK_SECONDS = 60.0
RETRY_SECONDS = 2.0


class Registration:
    """`service`: the Service of metrics, which the APIService names."""

    def __init__(self, api: KubeApi, clock: Clock, tls: ServingTls, service: Key) -> None:
        self._api = api
        self._clock = clock
        self._tls = tls
        self._service = service
        self._certificate: Certificate | None = None
        self._clients = ""
        self._names: frozenset[str] = frozenset()

    def names(self) -> Collection[str]:
        """Common names that the API server's certificate may have; empty: any."""
        return self._names

    async def run(self) -> None:
        while True:
            try:
                await self.refresh()
                seconds = CHECK_SECONDS
            except (ArksError, ssl.SSLError) as error:
                log.warning("external metrics API is not registered", error=str(error), retry_seconds=RETRY_SECONDS)
                seconds = RETRY_SECONDS
            await asyncio.sleep(seconds)

    async def refresh(self) -> None:
        """One pass. Raises ArksError, and ssl.SSLError for an authority that cannot be read."""
        now, before = self._clock.now(), (self._certificate, self._clients)
        await self._read_front_proxy()
        certificate = self._certificate
        if certificate is None or now >= certificate.renew_at:
            certificate = self_signed(f"{self._service.name}.{self._service.namespace}.svc", now)
        await self._trust(certificate)
        if (certificate, self._clients) != before:
            self._tls.use(certificate, self._clients)
            self._certificate = certificate

    async def _read_front_proxy(self) -> None:
        found = await self._api.get(CONFIG_MAP, FRONT_PROXY)
        data = {} if found is None else found.get("data", {})
        if not (clients := data.get("requestheader-client-ca-file", "")):
            raise NotFound(f"ConfigMap {FRONT_PROXY} has no authority: the cluster does not aggregate APIs")
        try:
            names = json.loads(data.get("requestheader-allowed-names", "[]"))
        except ValueError as error:
            raise Invalid(f"ConfigMap {FRONT_PROXY}: requestheader-allowed-names is no list") from error
        self._clients, self._names = clients, frozenset(map(str, names))

    async def _trust(self, certificate: Certificate) -> None:
        """Add the certificate to those that the API server trusts."""
        found = await self._api.get(API_SERVICE, Key("", NAME))
        if found is None:
            raise NotFound(f"there is no APIService {NAME}")
        service = found["spec"].get("service") or {}
        if (service.get("namespace"), service.get("name")) != (self._service.namespace, self._service.name):
            other = f"{service.get('namespace')}/{service.get('name')}"
            raise Conflict(f"APIService {NAME} leads to another program: {other}")
        known = base64.b64decode(found["spec"].get("caBundle") or "")
        bundle = bundle_with(known, certificate, self._clock.now()).encode()
        if bundle != known:
            version = {"resourceVersion": found["metadata"]["resourceVersion"]}
            patch = {"metadata": version, "spec": {"caBundle": base64.b64encode(bundle).decode()}}
            await self._api.merge(API_SERVICE, Key("", NAME), patch)
