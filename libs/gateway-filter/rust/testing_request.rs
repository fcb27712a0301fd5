//! Calls of the reader of requests.

use std::time::Instant;

use crate::early::Early;
use crate::request::{Change, Request, percent_encode, read_parts, read_request};
use crate::stream_options::with_usage;
use crate::testing::Members;

/// Runs a function of this file; `None` if there is none of that name.
pub fn call(name: &str, arguments: &[Option<Vec<u8>>]) -> Option<Members> {
    match (name, arguments) {
        ("read_request", [Some(body)]) => Some(match read_request(body) {
            Ok(request) => members_of(request, body),
            Err(fault) => vec![Some(fault.envelope().into_bytes())],
        }),
        ("read_parts", parts) => {
            let parts: Vec<&[u8]> = parts.iter().flatten().map(Vec::as_slice).collect();
            let members = |request: Request| [positions_of(&request), members_of(request, &parts.concat())].concat();
            Some(read_parts(&parts).map(members).unwrap_or_default())
        }
        ("positions_of_request", [Some(body)]) => {
            Some(read_request(body).map_or_else(|_| vec![None], |request| positions_of(&request)))
        }
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

/// Its positions in the body besides `model_at`, for comparison.
fn positions_of(request: &Request) -> Members {
    vec![Some(format!("{:?} {:?} {:?}", request.change, request.places, request.as_stream).into_bytes())]
}

/// The body for the engine, if it is another than the client's.
pub fn changed_body(request: &Request, body: &[u8]) -> Option<Vec<u8>> {
    request.change.clone().map(|change| match change {
        Change::Body(body) => body,
        Change::End(at) => with_usage(body, at),
    })
}

/// The fields of a request in their order, except for its places; the last two are the ends of `model_at`.
fn members_of(request: Request, body: &[u8]) -> Members {
    let changed = changed_body(&request, body);
    let number = |number: u64| Some(number.to_string().into_bytes());
    vec![
        Some(request.model),
        number(request.stream.into()),
        request.max_tokens.and_then(number),
        request.answers.map(u64::from).and_then(number),
        request.copies.map(u64::from).and_then(number),
        request.uses.map(String::into_bytes),
        number(request.bytes.all),
        changed,
        number(request.model_at.start as u64),
        number(request.model_at.end as u64),
    ]
}
