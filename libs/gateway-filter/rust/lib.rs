//! Admission and metering of requests inside Envoy, as a dynamic module of its own process.
//!
//! Pure parts come first: [`json`] to [`names`] read bodies, [`tables`] to [`admission`] decide. `envoy` connects them
//! with Envoy. docs/architecture/admission.md of Arks defines the protocol with token-quota, leases.md beside it the files
//! that the filter writes.

pub mod addresses;
pub mod admission;
pub mod affinity;
pub mod amounts;
pub mod answer;
pub mod confirmations;
pub mod connections;
pub mod early;
pub mod errors;
pub mod fault;
pub mod gathered;
pub mod held_bytes;
pub mod json;
pub mod json_text;
pub mod keys;
pub mod leases;
pub mod line_file;
pub mod members;
pub mod names;
pub mod outline;
pub mod pending;
pub mod prompts;
pub mod ratio;
pub mod rejections;
pub mod renewal_calls;
pub mod renewals;
pub mod request;
pub mod sampling;
pub mod schema;
pub mod stream_options;
pub mod tables;
pub mod text;
pub mod turns;
pub mod usage_line;
pub mod uses;

// Envoy has what this part calls; the tests in Python load the library without it.
#[cfg(not(feature = "testing"))]
mod envoy;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "testing")]
mod testing_affinity;
#[cfg(feature = "testing")]
mod testing_answer;
#[cfg(feature = "testing")]
mod testing_leases;
#[cfg(feature = "testing")]
mod testing_request;
#[cfg(test)]
mod worker_tests;
