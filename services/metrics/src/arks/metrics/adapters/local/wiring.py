"""Build the adapters that metrics has on one machine only."""

from arks.metrics.config import Settings


def no_pod_autoscalers(settings: Settings) -> None:
    """One machine has no HorizontalPodAutoscalers. Raises ValueError if the settings want them."""
    if settings.horizontal_pod_autoscalers:
        raise ValueError("ARKS_HORIZONTAL_POD_AUTOSCALERS needs ARKS_PLATFORM=kubernetes")
