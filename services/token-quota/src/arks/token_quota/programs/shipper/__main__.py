"""usage-shipper: wiring. Run beside each Envoy: `python -m arks.token_quota.programs.shipper`."""

from arks.kit.app import App
from arks.kit.home import Home
from arks.kit.start import home_from_environment
from arks.token_quota.config import ShipperSettings
from arks.token_quota.programs.shipper.publisher import EnvoyAdmin, JetStreamPublisher
from arks.token_quota.programs.shipper.segments import Segments
from arks.token_quota.programs.shipper.ship import Gateway, Publisher, Shipper, ShipperMetrics
from arks.token_quota.programs.shipper.state import StateFile


def build(
    settings: ShipperSettings, home: Home, publisher: Publisher | None = None, gateway: Gateway | None = None
) -> App:
    log = settings.usage_log_path
    shipper = Shipper(
        ends=Segments(log, monotonic=home.clock.monotonic),
        starts=Segments(log.with_name(log.name + ".starts"), monotonic=home.clock.monotonic),
        state_file=StateFile(log),
        publisher=publisher or JetStreamPublisher(home.bus),
        gateway=gateway or _admin(settings),
        metrics=ShipperMetrics(home.registry),
        clock=home.clock,
        gateway_name=settings.gateway,
        rotate_bytes=settings.usage_log_rotate_bytes,
        max_total_bytes=settings.usage_log_max_total_bytes,
    )

    async def finish() -> None:
        await shipper.finish(settings.drain_seconds)

    return App("usage-shipper", home, tasks=[shipper.run], stops=[finish])


def _admin(settings: ShipperSettings) -> EnvoyAdmin:
    return EnvoyAdmin(settings.envoy_admin_host, settings.envoy_admin_port, settings.envoy_admin_socket)


if __name__ == "__main__":
    settings = ShipperSettings()
    build(settings, home_from_environment("usage-shipper", settings)).run()
