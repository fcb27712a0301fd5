"""Peers."""

from arks.kit.peers import Peer, choose


def test_the_peer_with_the_fewest_calls_is_chosen() -> None:
    busy, idle = Peer("a:1", in_flight=2), Peer("b:1", in_flight=1)
    assert idle is choose([busy, idle], now=0)


def test_a_peer_that_failed_is_avoided_for_a_time_that_doubles_until_it_succeeds() -> None:
    peer = Peer("a:1")
    pauses = []
    for _ in range(7):
        peer.failed(now=100.0)
        pauses.append(peer.avoided_until - 100.0)
    assert [1, 2, 4, 8, 16, 30, 30] == pauses
    assert (None, peer) == (choose([peer], now=129.9), choose([peer], now=130.0))
    peer.succeeded()
    assert peer is choose([peer], now=0)
