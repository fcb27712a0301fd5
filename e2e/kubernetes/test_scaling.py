"""Scaling up and down under streaming load costs no client an error."""

import pytest

from e2e.support.tenant import Tenant

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]


async def test_scaling_to_three_and_back_to_one_drops_no_stream(tenant: Tenant) -> None:
    await tenant.serve("scaled")
    traffic = tenant.traffic("scaled", streams=True, max_tokens=64, connections=3, ignore_eos=True)
    async with traffic.running():
        for replicas in (3, 1):
            await tenant.kubectl("scale", "arksapplication", "scaled", f"--replicas={replicas}")
            await tenant.replicas_ready("scaled", replicas)
            await traffic.answers(6)
        await tenant.until_gone("pod", "scaled-1", within_seconds=240)
    assert [] == traffic.faults()
    assert {"engine": traffic.usage} == await tenant.usage()
