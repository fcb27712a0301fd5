//! Affinity: requests of one session, or with the same beginning of a prompt, go to the replica that has it in its cache,
//! unless that replica is busy.
//!
//! Each key has its own order of the replicas (rendezvous hashing, Thaler and Ravishankar 1998): a replica that comes or
//! goes moves only its own keys, and changed shares move none. A replica with its part of the load passes requests on to
//! the next one in the order (consistent hashing with bounded loads, Mirrokni et al. 2016).

use crate::json::{Keys, after_space, after_value, read_object};
use std::ops::Range;
use std::sync::LazyLock;

/// The header by which the filter passes a request's key to the balancer; clients cannot send it.
pub const KEY_HEADER: &str = "x-arks-affinity";
const PERCENT: u128 = 100;

static MESSAGE_KEYS: LazyLock<Keys> = LazyLock::new(|| Keys::default().and(&["role"]));

/// What requests of an endpoint are held together by; `<bytes of the prompt>[,<header>]` in a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    prompt_bytes: usize,
    header: Option<Vec<u8>>,
}

impl Affinity {
    /// Reads the value of a grant's header; `None` if it is not understood.
    #[must_use]
    pub fn read(value: &[u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let (bytes, header) = value.split_once(',').map_or((value, None), |(bytes, header)| (bytes, Some(header)));
        let header = header.map(|name| name.to_ascii_lowercase().into_bytes());
        Some(Self { prompt_bytes: bytes.parse().ok()?, header })
    }

    /// How much of a prompt's beginning counts.
    #[must_use]
    pub const fn prompt_bytes(&self) -> usize {
        self.prompt_bytes
    }

    /// The header that names a session, if there is one.
    #[must_use]
    pub fn header(&self) -> Option<&[u8]> {
        self.header.as_deref()
    }

    /// The key of a request: of its session if it names one, else of the beginning of its prompt. `None`: it goes where
    /// there is the least load.
    ///
    /// Sessions are those of a token: `grant` begins with `<namespace>/<endpoint>/<token>`. Prompts are those of the
    /// endpoint, because the tokens of an application share them.
    #[must_use]
    pub fn key(&self, grant: &str, session: Option<&[u8]>, prompt: &[u8]) -> Option<u64> {
        if let Some(session) = session.filter(|session| !session.is_empty()) {
            return Some(hash(hash(SEED, parts(grant, 3).as_bytes()), session));
        }
        let prompt = beginning(prompt, self.prompt_bytes);
        (!prompt.is_empty()).then(|| hash(hash(!SEED, parts(grant, 2).as_bytes()), prompt))
    }
}

/// Where a body has what a key is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The value of `prompt_cache_key`, by which clients name a session in the body.
    pub session: Range<usize>,
    /// The value of `messages` or `prompt`; empty for embeddings, which no cache shortens.
    pub prompt: Range<usize>,
}

/// The first `count` parts of a path.
fn parts(path: &str, count: usize) -> &str {
    let end = path.match_indices('/').nth(count - 1).map_or(path.len(), |(at, _)| at);
    &path[..end]
}

/// The beginning of a prompt, which the later requests of the same conversation share: of a list of messages those up to
/// the first one of the user; at most `limit` bytes.
fn beginning(prompt: &[u8], limit: usize) -> &[u8] {
    let prompt = &prompt[..prompt.len().min(limit)];
    if prompt.first() == Some(&b'[') { &prompt[..first_turn(prompt).unwrap_or(prompt.len())] } else { prompt }
}

/// The position after the first message whose role is `user`, if it ends in this text.
fn first_turn(text: &[u8]) -> Option<usize> {
    let mut at = after_space(text, 1);
    while text.get(at) == Some(&b'{') {
        let after = after_value(text, at)?;
        let message = read_object(text, at, &MESSAGE_KEYS).ok()?;
        if message.text(text, "role") == Some(b"\"user\"") {
            return Some(after);
        }
        let comma = after_space(text, after);
        at = after_space(text, comma + 1);
    }
    None
}

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;

/// A hash that every gateway computes alike. Clients may choose values with equal hashes: they then share a replica,
/// which takes its part of the load at most.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let words = bytes.chunks(8).map(|chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    words.fold(mixed(seed ^ bytes.len() as u64), |hash, word| mixed(hash ^ word))
}

/// Spreads each bit over all others (the finalizer of splitmix64).
const fn mixed(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// A replica that can take a request.
#[derive(Clone, Copy, Debug)]
pub struct Replica {
    /// Of its address.
    pub identity: u64,
    /// Its share of the requests is its weight's part of all weights.
    pub weight: u64,
    /// Requests in flight from this gateway.
    pub load: u64,
    /// With fewer requests in flight it is not busy, whatever others have.
    pub room: u64,
    /// Whether the request has failed there before.
    pub is_avoided: bool,
}

/// The identity of a replica at an address.
#[must_use]
pub fn identity(address: &[u8]) -> u64 {
    hash(SEED, address)
}

/// Chooses the replica for a request: the first one in the key's order that has less than `limit` percent of its part
/// of the load, or is not busy at all. Without a key the one with the least load for its share; `turn` decides between equals.
#[must_use]
pub fn choose(replicas: &[Replica], key: Option<u64>, limit: u64, turn: u64) -> Option<usize> {
    let weights: u128 = replicas.iter().map(|replica| u128::from(replica.weight)).sum::<u128>().max(1);
    let total = replicas.iter().map(|replica| u128::from(replica.load)).sum::<u128>() + 1;
    let most = |replica: &Replica| {
        let part = (u128::from(limit) * u128::from(replica.weight) * total).div_ceil(weights * PERCENT);
        part.max(replica.room.into()).max(1)
    };
    let has_room = |replica: &Replica| replica.weight > 0 && u128::from(replica.load) < most(replica);
    let order = |key: u64, replica: &Replica| mixed(key ^ replica.identity);
    let usable = || replicas.iter().enumerate().filter(|(_, replica)| !replica.is_avoided);
    let held = key.and_then(|key| {
        usable().filter(|(_, replica)| has_room(replica)).max_by_key(|(_, replica)| order(key, replica))
    });
    let least = |(_, replica): &(usize, &Replica)| {
        let load = u128::from(replica.load + 1) * weights / u128::from(replica.weight.max(1));
        (load, order(turn, replica))
    };
    let found = held.or_else(|| usable().min_by_key(least)).or_else(|| replicas.iter().enumerate().min_by_key(least));
    found.map(|(at, _)| at)
}
