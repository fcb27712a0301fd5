"""Pods as journeys compare them."""

from e2e.support.cluster import Cluster


async def running_pods(cluster: Cluster, selector: str) -> dict[str, str]:
    """Name -> uid of the selected pods that are not terminating."""
    pods = [pod for pod in await cluster.all("pods", selector) if "deletionTimestamp" not in pod["metadata"]]
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in pods}
