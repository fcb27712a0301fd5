//! Calls of the pure parts by the tests in Python: `arks_call` takes and returns a list of byte strings.
//!
//! A list is written as, for each of its members, four bytes of its length (little-endian; 0xFFFFFFFF for a member that
//! is absent), then its bytes. The first member of a call names the function.

use crate::{testing_affinity, testing_answer, testing_leases, testing_request};

/// A list of byte strings, some of which may be absent.
pub type Members = Vec<Option<Vec<u8>>>;

const ABSENT: u32 = u32::MAX;

/// Runs the function that the first member names, and passes the result to `receive`.
///
/// # Safety
///
/// `input` must point to `length` bytes.
///
/// # Panics
///
/// Ends the process if there is no such function, or the call is malformed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn arks_call(input: *const u8, length: usize, receive: extern "C" fn(*const u8, usize)) {
    let members = decode(unsafe { std::slice::from_raw_parts(input, length) });
    let name = members[0].clone().expect("a call has a name");
    let name = String::from_utf8(name).expect("names are ASCII");
    let output = encode(&call(&name, &members[1..]).unwrap_or_else(|| panic!("no function {name}")));
    receive(output.as_ptr(), output.len());
}

fn call(name: &str, arguments: &[Option<Vec<u8>>]) -> Option<Members> {
    testing_request::call(name, arguments)
        .or_else(|| testing_leases::call(name, arguments))
        .or_else(|| testing_answer::call(name, arguments))
        .or_else(|| testing_affinity::call(name, arguments))
}

fn decode(mut bytes: &[u8]) -> Members {
    let mut members = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*head);
        let size = if length == ABSENT { 0 } else { length as usize };
        members.push((length != ABSENT).then(|| rest[..size].to_vec()));
        bytes = &rest[size..];
    }
    members
}

fn encode(members: &Members) -> Vec<u8> {
    let mut bytes = Vec::new();
    for member in members {
        let length = member.as_ref().map_or(ABSENT, |member| u32::try_from(member.len()).expect("a short list"));
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(member.as_deref().unwrap_or_default());
    }
    bytes
}
