//! Calls of the reader of requests.

use std::time::Instant;

use crate::early::Early;
use crate::request::{Request, percent_encode, read_request};
use crate::testing::Members;

/// Runs a function of this file; `None` if there is none of that name.
pub fn call(name: &str, arguments: &[Option<Vec<u8>>]) -> Option<Members> {
    match (name, arguments) {
        ("read_request", [Some(body)]) => Some(match read_request(body) {
            Ok(request) => members_of(request),
            Err(fault) => vec![Some(fault.envelope().into_bytes())],
        }),
        ("early_fault", parts) => {
            let mut early = Early::default();
            let fault = parts.iter().flatten().find_map(|part| early.feed(part).err());
            Some(vec![fault.map(|fault| fault.envelope().into_bytes())])
        }
        ("nanoseconds_to_read", [Some(body)]) => {
            let began = Instant::now();
            read_request(body).ok()?;
            Some(vec![Some(began.elapsed().as_nanos().to_string().into_bytes())])
        }
        ("percent_encode", [Some(text)]) => Some(vec![Some(percent_encode(text).into_bytes())]),
        _ => None,
    }
}

/// The fields of a request in their order, except for its places; the last two are the ends of `model_at`.
fn members_of(request: Request) -> Members {
    let number = |number: u64| Some(number.to_string().into_bytes());
    vec![
        Some(request.model),
        number(request.stream.into()),
        request.max_tokens.and_then(number),
        request.answers.map(u64::from).and_then(number),
        request.copies.map(u64::from).and_then(number),
        request.uses.map(String::into_bytes),
        number(request.bytes.all),
        request.body,
        number(request.model_at.start as u64),
        number(request.model_at.end as u64),
    ]
}
