//! How many bytes of long bodies are held at once: of one key, from one network, and in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The part of all bytes that one key may hold.
const KEY_PART: u64 = 4;
/// The part of all bytes that one network may hold: more, because clients of several keys may have one address.
const NETWORK_PART: u64 = 2;

/// Who holds bytes. Everyone's are counted under `All`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    All,
    Key(Vec<u8>),
    Network(Vec<u8>),
}

/// The bytes that are held. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct HeldBytes(Arc<Mutex<HashMap<Holder, u64>>>);

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub struct Permit {
    held: HeldBytes,
    holders: Vec<Holder>,
    bytes: u64,
}

impl HeldBytes {
    /// Holds `bytes` for a key and a client's network, of at most `most` in all; 0: no limit. `None` if that is too much.
    /// A body that is alone may be of any length.
    #[must_use]
    pub fn take(&self, (key, network): (&[u8], Option<Vec<u8>>), bytes: u64, most: u64) -> Option<Permit> {
        let mut holders = vec![Holder::All, Holder::Key(key.to_vec())];
        holders.extend(network.map(Holder::Network));
        let mut held = self.lock();
        let exceeds = |holder: &Holder| {
            let limit = match holder {
                Holder::All => most,
                Holder::Key(_) => most / KEY_PART,
                Holder::Network(_) => most / NETWORK_PART,
            };
            held.get(holder).is_some_and(|others| others.saturating_add(bytes) > limit)
        };
        if most > 0 && holders.iter().any(exceeds) {
            return None;
        }
        for holder in &holders {
            *held.entry(holder.clone()).or_default() += bytes;
        }
        drop(held);
        Some(Permit { held: self.clone(), holders, bytes })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Holder, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        for holder in &self.holders {
            if let Some(bytes) = held.get_mut(holder) {
                *bytes -= self.bytes;
                if *bytes == 0 {
                    held.remove(holder);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HeldBytes;

    const MOST: u64 = 800;

    #[test]
    fn a_key_holds_a_quarter_of_all_and_a_network_a_half() {
        let held = HeldBytes::default();
        let take = |key: &[u8], network: u8| held.take((key, Some(vec![network])), 100, MOST);
        let of_a = [take(b"a", 1), take(b"a", 2)];
        assert!(of_a.iter().all(Option::is_some));
        assert!(take(b"a", 3).is_none());
        let others = [take(b"b", 1), take(b"c", 1), take(b"d", 1)];
        assert!(others.iter().all(Option::is_some));
        assert!(take(b"e", 1).is_none());
        assert!(take(b"e", 2).is_some());
    }

    #[test]
    fn what_ends_makes_room_and_leaves_nothing_behind() {
        let held = HeldBytes::default();
        let first = held.take((b"a", None), 200, MOST);
        assert!(held.take((b"a", None), 1, MOST).is_none());
        drop(first);
        assert!(held.take((b"a", None), 1, MOST).is_some());
        assert!(held.lock().is_empty());
    }

    #[test]
    fn all_together_hold_no_more_than_the_limit_and_one_alone_may() {
        let held = HeldBytes::default();
        let keys: Vec<_> = (0..10_u8).map(|key| held.take((&[key], None), 100, MOST)).collect();
        assert_eq!(keys.iter().flatten().count(), 8);
        drop(keys);
        assert!(held.take((b"a", None), 10 * MOST, MOST).is_some());
        let unlimited: Vec<_> = (0..10).map(|_| held.take((b"a", None), MOST, 0)).collect();
        assert!(unlimited.iter().all(Option::is_some));
    }
}
