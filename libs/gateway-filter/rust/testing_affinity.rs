//! Calls of affinity. Numbers are decimal; an absent key is a request without one.

use crate::affinity::{Affinity, Replica, choose, identity};
use crate::testing::Members;

/// Runs a function of this part; `None` if there is none of that name.
pub fn call(name: &str, arguments: &[Option<Vec<u8>>]) -> Option<Members> {
    let number = |bytes: &Option<Vec<u8>>| -> Option<u64> { std::str::from_utf8(bytes.as_deref()?).ok()?.parse().ok() };
    match (name, arguments) {
        ("affinity_key", [Some(setting), Some(grant), session, Some(prompt)]) => {
            let affinity = Affinity::read(setting)?;
            let grant = std::str::from_utf8(grant).expect("a grant is ASCII");
            let key = affinity.key(grant, session.as_deref(), prompt);
            Some(vec![key.map(|key| key.to_string().into_bytes())])
        }
        ("affinity_choose", [limit, key, turn, replicas @ ..]) => {
            let replicas: Vec<Replica> = replicas.iter().flatten().map(|text| replica(text)).collect();
            let turn = number(turn).expect("a turn");
            let found = choose(&replicas, number(key), number(limit).expect("a limit"), turn);
            Some(vec![found.map(|at| at.to_string().into_bytes())])
        }
        _ => None,
    }
}

/// `<address> <weight> <load> <room> <0 or 1>`.
fn replica(text: &[u8]) -> Replica {
    let text = std::str::from_utf8(text).expect("ASCII");
    let mut parts = text.split(' ');
    let mut next = || parts.next().expect("five parts");
    let identity = identity(next().as_bytes());
    let mut number = || next().parse().expect("a number");
    Replica { identity, weight: number(), load: number(), room: number(), is_avoided: number() == 1 }
}
