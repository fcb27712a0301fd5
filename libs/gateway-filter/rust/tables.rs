//! What a worker keeps between requests, bounded and valid for a time. Nothing here reads a clock: `now` is in
//! milliseconds since the epoch.

use std::collections::HashMap;

/// A query of token-quota that takes longer has failed, in milliseconds.
pub const ADMISSION_MILLISECONDS: i64 = 2000;
/// The longest time for which an answer of token-quota counts by itself.
pub const HOLD_MILLISECONDS: i64 = 1000;
/// The longest time for which an answer of token-quota counts while it gives no other one.
pub const OUTAGE_MILLISECONDS: i64 = 600_000;
/// The largest number of tokens that is counted.
pub const COUNT_LIMIT: i64 = i32::MAX as i64;

const KEYS_LIMIT: usize = 10_000;
const BYTES_LIMIT: usize = 4 * 1024 * 1024;

/// Whether `now` is in the `milliseconds` before `stop`. A clock that was set back ends every validity.
#[must_use]
pub const fn is_valid(stop: i64, now: i64, milliseconds: i64) -> bool {
    now < stop && stop - now <= milliseconds
}

/// A table of at most two generations, each bounded in keys and in their bytes. The older one is dropped when the younger
/// one is full; a key that is read moves to the younger one.
pub struct Table<Value> {
    young: HashMap<Vec<u8>, Value>,
    old: HashMap<Vec<u8>, Value>,
    bytes: usize,
    keys_limit: usize,
    bytes_limit: usize,
}

impl<Value> Default for Table<Value> {
    fn default() -> Self {
        Self::new(KEYS_LIMIT, BYTES_LIMIT)
    }
}

impl<Value> Table<Value> {
    /// An empty table with these limits of a generation.
    #[must_use]
    pub fn new(keys_limit: usize, bytes_limit: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), bytes: 0, keys_limit, bytes_limit }
    }

    /// Keeps a value, in place of one with the same key.
    pub fn put(&mut self, key: Vec<u8>, value: Value) {
        if !self.young.contains_key(&key) {
            let is_full = self.young.len() >= self.keys_limit || self.bytes + key.len() > self.bytes_limit;
            if is_full && !self.young.is_empty() {
                self.old = std::mem::take(&mut self.young);
                self.bytes = 0;
            }
            self.bytes += key.len();
        }
        self.young.insert(key, value);
    }

    /// The value of a key.
    pub fn get(&mut self, key: &[u8]) -> Option<&mut Value> {
        if !self.old.is_empty() && !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.put(key, value);
        }
        self.young.get_mut(key)
    }

    /// All values.
    pub fn values(&mut self) -> impl Iterator<Item = &mut Value> {
        self.young.values_mut().chain(self.old.values_mut())
    }

    /// Keys and their bytes of the younger and of the older generation.
    #[must_use]
    pub fn sizes(&self) -> [(usize, usize); 2] {
        [&self.young, &self.old].map(|part| (part.len(), part.keys().map(Vec::len).sum()))
    }
}
