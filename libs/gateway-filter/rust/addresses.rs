//! Failures of keys by the address of their clients: who tries many wrong keys gets cheap answers for a while.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use crate::tables::Table;

/// How far failures may run ahead of their rate, in milliseconds: as many as a second has may come at once.
const BURST_MILLISECONDS: i64 = 1000;
const KEYS_LIMIT: usize = 10_000;

/// The network of a client: its IPv4 address, or the /64 of its IPv6 address, of which one client has all addresses.
/// `None` if the text is no address.
#[must_use]
pub fn network(text: &str) -> Option<Vec<u8>> {
    let address = text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse()).ok()?;
    let of_version_6 = |address: Ipv6Addr| address.octets()[..8].to_vec();
    Some(match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => {
            address.to_ipv4_mapped().map_or_else(|| of_version_6(address), |address| address.octets().to_vec())
        }
    })
}

/// Failures of each network, of which a second has a number that costs nothing.
pub struct Failures {
    /// Network -> the time until which its failures use up the rate.
    until: Table<i64>,
    last: i64,
    milliseconds_each: i64,
}

impl Failures {
    /// Limits failures to so many a second; 0: no limit.
    #[must_use]
    pub fn new(per_second: u32) -> Self {
        let milliseconds_each = if per_second == 0 { 0 } else { (1000 / i64::from(per_second)).max(1) };
        Self { until: Table::new(KEYS_LIMIT, KEYS_LIMIT * 8), last: i64::MIN, milliseconds_each }
    }

    /// Counts a failure.
    pub fn add(&mut self, network: Vec<u8>, now: i64) {
        if self.milliseconds_each == 0 {
            return;
        }
        self.last = now;
        let most = now + 2 * BURST_MILLISECONDS; // ends soon after the last one, however many there were
        match self.until.get(&network) {
            Some(until) => *until = ((*until).clamp(now, most) + self.milliseconds_each).min(most),
            None => self.until.put(network, now + self.milliseconds_each),
        }
    }

    /// Whether any network may have too many failures now. Without, the address of a client need not be read.
    #[must_use]
    pub const fn is_alert(&self, now: i64) -> bool {
        // A clock that was set back ends the alert.
        self.last <= now && now.saturating_sub(self.last) < 2 * BURST_MILLISECONDS
    }

    /// Whether this network has more failures than the rate allows.
    pub fn exceeds(&mut self, network: &[u8], now: i64) -> bool {
        let ahead = BURST_MILLISECONDS..=2 * BURST_MILLISECONDS;
        self.until.get(network).is_some_and(|until| ahead.contains(&(*until - now)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Failures, network};

    #[test]
    fn clients_of_one_ipv6_network_are_one() {
        assert_eq!(network("[2001:db8::1]:80"), network("2001:db8::ffff:2"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("10.0.0.1:5"), network("::ffff:10.0.0.1"));
        assert_ne!(network("10.0.0.1"), network("10.0.0.2"));
        assert_eq!(network("/run/socket"), None);
    }

    #[test]
    fn as_many_failures_as_a_second_has_are_allowed_at_once_and_others_as_time_passes() {
        let (mut failures, client, now) = (Failures::new(10), vec![10, 0, 0, 1], 1_000_000);
        let mut allowed = 0;
        for _ in 0..100 {
            if !failures.exceeds(&client, now) {
                allowed += 1;
                failures.add(client.clone(), now);
            }
        }
        assert_eq!(allowed, 10);
        assert!(!failures.exceeds(&[10, 0, 0, 2], now));
        assert!(failures.exceeds(&client, now));
        assert!(!failures.exceeds(&client, now + 100));
    }

    #[test]
    fn a_flood_is_over_two_seconds_after_its_last_failure() {
        let (mut failures, client) = (Failures::new(10), vec![10, 0, 0, 1]);
        (0..100_000).for_each(|now| failures.add(client.clone(), now / 10));
        assert!(failures.is_alert(10_000));
        assert!(failures.exceeds(&client, 10_000));
        assert!(!failures.exceeds(&client, 11_001));
        assert!(!failures.is_alert(12_001));
    }

    #[test]
    fn a_clock_that_is_set_back_and_a_rate_of_0_limit_nothing() {
        let (mut failures, client) = (Failures::new(1), vec![10, 0, 0, 1]);
        (0..10).for_each(|_| failures.add(client.clone(), 1_000_000));
        assert!(!failures.exceeds(&client, 0));
        let mut off = Failures::new(0);
        (0..10).for_each(|_| off.add(client.clone(), 5));
        assert!(!off.exceeds(&client, 5));
    }
}
