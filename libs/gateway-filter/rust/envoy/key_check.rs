//! The filter that checks the key before a long body is read.

use std::sync::Arc;

use super::abi::REQUEST;
use super::exchange::Outcome;
use super::stream::Stream;
use super::workers::{Config, now};
use crate::pending::Decision;
use crate::rejections::{Answer, Reply, is_key};

/// A request until its key is known to be valid.
pub struct KeyCheck {
    config: Arc<Config>,
    waiting: Option<(Vec<u8>, i64)>,
}

impl KeyCheck {
    /// A request of which nothing is known yet.
    #[must_use]
    pub const fn new(config: Arc<Config>) -> Self {
        Self { config, waiting: None }
    }

    /// Takes the request's headers.
    pub fn request_headers(&mut self, stream: &mut Stream) -> Outcome {
        let Some(authorization) = stream.header(REQUEST, b"authorization").filter(|value| is_key(value)) else {
            return Outcome::Reply(Reply::without_key().into());
        };
        let (authorization, now) = (authorization.to_vec(), now());
        match self.config.with_worker(|worker| worker.decide_key(&authorization, now)) {
            None | Some(Decision::Start(_)) => Outcome::Continue,
            Some(Decision::Reject(reply)) => Outcome::Reply(reply),
            Some(Decision::Query(query)) => {
                let address = || stream.client_network();
                if let Some(reply) =
                    self.config.with_worker(|worker| worker.limited_by_failures(&authorization, address, now))
                {
                    return Outcome::Reply(reply);
                }
                self.waiting = Some((authorization, now));
                Outcome::Query(query)
            }
        }
    }

    /// Takes the answer to the query of the key.
    pub fn answered(&mut self, stream: &Stream, answer: &Answer) -> Outcome {
        let Some((authorization, sent)) = self.waiting.take() else { return Outcome::Buffer };
        let times = (sent, now());
        match self.config.with_worker(|worker| worker.decide_key_answered(&authorization, answer, times)) {
            None => Outcome::Continue,
            Some(reply) => {
                self.config.count_failure(stream, &reply);
                Outcome::Reply(reply)
            }
        }
    }
}
