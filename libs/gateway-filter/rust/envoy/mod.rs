//! The filters as Envoy runs them. Only this module calls Envoy, and only here is unsafe code.

mod abi;
mod balancer;
mod exchange;
mod hooks;
mod join;
mod key_check;
mod metered;
mod open_connections;
mod reading;
mod renewals;
mod started;
mod stream;
mod traces;
mod usage_log;
mod workers;
