//! How many connections are open from each client's network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The open connections of all workers. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<Mutex<HashMap<Vec<u8>, u64>>>);

/// A connection, which is open until this is dropped.
#[derive(Debug)]
pub struct Open {
    connections: Connections,
    network: Vec<u8>,
}

impl Connections {
    /// Counts a connection from this network, of at most `most`. `None` if there are so many already.
    #[must_use]
    pub fn open(&self, network: Vec<u8>, most: u64) -> Option<Open> {
        let mut open = self.lock();
        if open.get(&network).is_some_and(|others| *others >= most) {
            return None;
        }
        *open.entry(network.clone()).or_default() += 1;
        drop(open);
        Some(Open { connections: self.clone(), network })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut open = self.connections.lock();
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Connections;

    #[test]
    fn a_network_has_so_many_and_others_have_their_own() {
        let connections = Connections::default();
        let held = [connections.open(vec![1], 2), connections.open(vec![1], 2)];
        assert!(held.iter().all(Option::is_some));
        assert!(connections.open(vec![1], 2).is_none());
        assert!(connections.open(vec![2], 2).is_some());
    }

    #[test]
    fn one_that_ends_makes_room_and_leaves_nothing_behind() {
        let connections = Connections::default();
        drop(connections.open(vec![1], 1));
        assert!(connections.open(vec![1], 1).is_some());
        assert!(connections.lock().is_empty());
    }
}
