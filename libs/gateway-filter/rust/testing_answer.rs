//! Meters, errors and names, for the tests in Python. What lives between calls has a number.

use std::cell::RefCell;

use crate::amounts::Reservation;
use crate::answer::joined::Joined;
use crate::answer::nulls::with_nulls;
use crate::answer::{Kind, Meter};
use crate::errors::openai_error;
use crate::names::{Renaming, with_model};
use crate::pending::Operation;
use crate::request::read_request;
use crate::stream_options::apply_all;
use crate::testing::Members;
use crate::testing_request::changed_body;
use crate::usage_line::{Charge, End, usage_line};

#[derive(Default)]
struct State {
    meters: Vec<Meter>,
    renamings: Vec<Renaming>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// Runs a function of these parts; `None` if there is none of that name.
pub fn call(name: &str, arguments: &[Option<Vec<u8>>]) -> Option<Members> {
    STATE.with_borrow_mut(|state| match name {
        "meter_new" => {
            let kind = Kind {
                stream: arguments[0].is_some(),
                cut: arguments[1].is_some(),
                copies: arguments[2].as_deref().map(number),
                reserved_prompt: u64::from(arguments[3].as_deref().map_or(0, number)),
            };
            state.meters.push(Meter::new(kind));
            Some(handle(state.meters.len()))
        }
        "meter_feed" => Some(vec![state.meters[at(arguments)].feed(bytes(arguments, 1))]),
        "meter_finish" => {
            state.meters[at(arguments)].finish();
            Some(vec![])
        }
        "meter_usage" => Some(vec![state.meters[at(arguments)].usage().map(String::into_bytes)]),
        "join" => {
            let parts = || arguments[2..].iter().map(|part| part.as_deref().unwrap_or_default());
            let (mut joined, mut meter) =
                (Joined::new(arguments[0].is_some()), Meter::new(stream_of(arguments[1].as_deref())));
            for part in parts() {
                joined.feed(part);
                meter.feed(part);
            }
            meter.finish();
            Some(match joined.finish(meter.counted()) {
                Ok(answer) => vec![None, Some(answer)],
                Err((status, body)) => vec![Some(status.to_string().into_bytes()), Some(body)],
            })
        }
        "usage_line" => {
            let text = |number: usize| arguments[number].as_deref().map(|value| String::from_utf8_lossy(value));
            let number = |at: usize| text(at).and_then(|value| value.parse::<i64>().ok());
            let charge = Charge {
                id: text(0)?.into_owned(),
                operation: Operation::Chat.name(),
                stream: true,
                grant: text(1)?.into(),
                reserved: Reservation { prompt: 12, completion: 512 },
                usage: text(2).map(std::borrow::Cow::into_owned),
            };
            let upstream = text(9);
            let end = End {
                began: number(3)?,
                lasted: number(4),
                first_byte: number(5),
                status: u32::try_from(number(6)?).ok()?,
                flags: u64::try_from(number(7)?).ok()?,
                attempts: u32::try_from(number(8)?).ok()?,
                upstream: upstream.as_deref(),
            };
            Some(vec![Some(usage_line(&charge, &end).into_bytes())])
        }
        "as_stream" => {
            let body = bytes(arguments, 0);
            let read = read_request(body).expect("a request");
            Some(vec![Some(apply_all(&read.as_stream, body))])
        }
        "renaming_new" => {
            state.renamings.push(Renaming::new(bytes(arguments, 0), bytes(arguments, 1)));
            Some(handle(state.renamings.len()))
        }
        "renaming_feed" => Some(vec![Some(state.renamings[at(arguments)].feed(bytes(arguments, 1)))]),
        "renaming_rest" => Some(vec![Some(state.renamings[at(arguments)].feed_last(b""))]),
        "with_model" => {
            let read = read_request(bytes(arguments, 0)).expect("a request");
            let (body, model_at) = (changed_body(&read, bytes(arguments, 0)), read.model_at);
            let body = body.unwrap_or_else(|| bytes(arguments, 0).to_vec());
            Some(vec![Some(with_model(&body, model_at, bytes(arguments, 1)))])
        }
        "with_nulls" => Some(vec![with_nulls(bytes(arguments, 0))]),
        "openai_error" => {
            let status = u16::try_from(number(bytes(arguments, 0))).expect("a status");
            let operation = Operation::of_path(bytes(arguments, 2)).expect("a path that makes tokens");
            Some(match openai_error(status, bytes(arguments, 1), operation.prompt()) {
                None => vec![],
                Some((status, body)) => vec![Some(status.to_string().into_bytes()), Some(body)],
            })
        }
        _ => None,
    })
}

fn stream_of(copies: Option<&[u8]>) -> Kind {
    Kind { stream: true, cut: false, copies: copies.map(number), reserved_prompt: 0 }
}

fn bytes(arguments: &[Option<Vec<u8>>], at: usize) -> &[u8] {
    arguments[at].as_deref().unwrap_or_default()
}

fn number(text: &[u8]) -> u32 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).expect("a number")
}

fn at(arguments: &[Option<Vec<u8>>]) -> usize {
    number(bytes(arguments, 0)) as usize
}

fn handle(count: usize) -> Members {
    vec![Some((count - 1).to_string().into_bytes())]
}
