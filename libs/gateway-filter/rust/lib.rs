//! Admission and metering of requests inside Envoy, as a dynamic module of its own process.
//!
//! Pure parts come first: [`json`] to [`names`] read bodies, [`tables`] to [`admission`] decide. [`envoy`] connects them
//! with Envoy. docs/architecture.md of Arks defines the protocol with token-quota and the files that the filter writes.

pub mod fault;
pub mod json;
pub mod members;
pub mod prompts;
pub mod request;
pub mod schema;
pub mod stream_options;
pub mod text;
pub mod uses;

#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "testing")]
mod testing_request;
