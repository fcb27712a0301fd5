//! The part of the router's domain that every load report passes. Pure: no clock, no I/O.
//!
//! - `report`: a load report as metrics publishes it
//! - `reading`: one measurement of a replica, and which are plausible
//! - `signals`: what follows from a replica's readings; `speed`, `usual` and `slots` are its parts
//! - `loads`: the signals of one application
//! - `groups`: replicas that are alike
//! - `division`: shares of groups by capacity, so that requests wait least
//! - `relief`: new requests away from queues
//! - `shares`: what these make of the newest reports: the share of each group
//! - `weights`: integers in proportion to shares
//! - `comparison`: the replicas of one application compared: groups, shares, weights
//! - `comparisons`: those of all applications of an endpoint, and its limits
//! - `assignment`: the same as Envoy reads it
//! - `limits`: requests in flight, retries, and when a rejected client may return
//! - `python`: all of this as a module for Python
//!
//! It is compiled because a router of a thousand endpoints reads thousands of readings a second: each takes many small
//! steps, and an interpreter's cost for each of them was two thirds of the router's.

pub mod assignment;
pub mod comparison;
pub mod comparisons;
pub mod division;
pub mod groups;
pub mod limits;
pub mod loads;
#[cfg(feature = "python")]
mod python;
pub mod reading;
pub mod relief;
pub mod report;
pub mod shares;
pub mod signals;
pub mod slots;
pub mod speed;
pub mod usual;
pub mod weights;

/// Move a mean towards a value, as far as this time takes it: all but 1/e of the way in `seconds`.
#[must_use]
pub(crate) fn approach(mean: f64, value: f64, elapsed: f64, seconds: f64) -> f64 {
    mean + (1.0 - (-elapsed / seconds).exp()) * (value - mean)
}
