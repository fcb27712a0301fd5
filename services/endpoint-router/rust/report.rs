//! A load report as metrics publishes it: `arks.events.v1.LoadReport` of protos/arks/events/v1/load.proto, without the
//! fields that no decision depends on.

use prost::Message;

use crate::reading::Reading;

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Timestamp {
    /// Since the epoch.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    /// Of the second.
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// Return seconds since the epoch.
    fn as_seconds(self) -> f64 {
        self.seconds as f64 + f64::from(self.nanos) / 1e9
    }
}

/// One reading. A signal that the engine did not give is absent.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs, reason = "the schema has the meaning of each field")]
pub struct ReplicaLoad {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "3")]
    pub port: u32,
    #[prost(message, optional, tag = "4")]
    pub measured_at: Option<Timestamp>,
    #[prost(double, optional, tag = "5")]
    pub running_requests: Option<f64>,
    #[prost(double, optional, tag = "6")]
    pub waiting_requests: Option<f64>,
    #[prost(double, optional, tag = "7")]
    pub kv_cache_usage_ratio: Option<f64>,
    #[prost(double, optional, tag = "9")]
    pub generation_tokens_per_second: Option<f64>,
    #[prost(double, optional, tag = "10")]
    pub drain_rate_per_second: Option<f64>,
    #[prost(uint32, optional, tag = "11")]
    pub slots: Option<u32>,
    #[prost(string, tag = "14")]
    pub problem: String,
    #[prost(double, optional, tag = "15")]
    pub generation_tokens_total: Option<f64>,
    #[prost(double, optional, tag = "16")]
    pub finished_requests_total: Option<f64>,
    #[prost(bool, tag = "18")]
    pub held: bool,
}

impl ReplicaLoad {
    /// Return the reading. `report_measured_at` holds for a replica without a time of its own.
    #[must_use]
    pub fn reading(&self, report_measured_at: f64) -> Reading {
        Reading {
            measured_at: self.measured_at.map_or(report_measured_at, Timestamp::as_seconds),
            running: self.running_requests,
            waiting: self.waiting_requests,
            drain_rate: self.drain_rate_per_second,
            token_rate: self.generation_tokens_per_second,
            kv_usage: self.kv_cache_usage_ratio,
            slots: self.slots.unwrap_or(0),
            tokens_total: self.generation_tokens_total,
            finished_total: self.finished_requests_total,
            problem: self.problem.clone(),
            held: self.held,
        }
    }
}

/// The load of one application at one moment.
#[derive(Clone, PartialEq, Message)]
#[allow(missing_docs, reason = "the schema has the meaning of each field")]
pub struct LoadReport {
    #[prost(string, tag = "1")]
    pub namespace: String,
    #[prost(string, tag = "2")]
    pub application: String,
    #[prost(message, optional, tag = "3")]
    pub measured_at: Option<Timestamp>,
    #[prost(message, repeated, tag = "4")]
    pub replicas: Vec<ReplicaLoad>,
    #[prost(string, repeated, tag = "5")]
    pub page_versions: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    pub missing_signals: Vec<String>,
}

impl LoadReport {
    /// Read the bytes of a message. Fails if they are none.
    ///
    /// # Errors
    /// What prost finds wrong.
    pub fn read(payload: &[u8]) -> Result<Self, prost::DecodeError> {
        Self::decode(payload)
    }

    /// Return when it was measured, in seconds since the epoch.
    #[must_use]
    pub fn measured_at(&self) -> f64 {
        self.measured_at.map_or(0.0, Timestamp::as_seconds)
    }
}
