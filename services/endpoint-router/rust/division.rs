//! Divide the traffic of one application between groups of alike replicas, so that requests wait least.
//!
//! Each group is a queue with c servers (the slots of all its replicas, because Envoy sends each request to the replica
//! with the fewest in flight) that work at speed v each. For M/M/c the mean number of waiting requests is about
//!
//! ```text
//! L(r) = r^sqrt(2 (c + 1)) / (1 - r)        r = load / (c v)
//! ```
//!
//! (H. Sakasegawa, "An approximation formula Lq = a r^b / (1 - r)", Annals of the Institute of Statistical Mathematics
//! 29, 1977). The sum over all groups is convex, so it is least where one more request costs the same in every group
//! that gets any: dL/dload = const. For c = 1 this is the square-root rule (J. Buzen and P. Chen, "Optimal load balancing
//! in memory hierarchies", IFIP 1974): spare capacity in proportion to the square root of capacity. A slow or small group
//! gets less than its proportion: nearly nothing while the others have room, and its full proportion at the limit.
//!
//! To the waiting is added a part of the service time (`FIRST_TOKEN`): without it nothing would distinguish a slow group
//! from a fast one while neither queues, and a client waits for the first token in both.
//!
//! Arrivals at a group with a small share are more regular than Poisson's, because Envoy interleaves localities; so it
//! queues less than assumed here. For 3 replicas of 16 slots x 175 ms and one of 4 slots x 700 ms this gives the slow one
//! 1.2 % of the traffic at 91 % load, which is what measurement found best.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// The part of a request's service time that counts like waiting: about the time to the first token.
const FIRST_TOKEN: f64 = 0.1;
/// Below this utilisation nothing queues, and a more exact load only makes shares noisy.
const LEAST_LOAD: f64 = 0.3;
/// Above this utilisation queues are endless in the model, and shares are nearly those of capacity.
const GREATEST_LOAD: f64 = 0.98;
/// The least share of a group, as a part of its proportion by capacity: so that its speed stays known.
pub const PROBE_PART: f64 = 0.08;
const LEAST_PRICE: f64 = 1e-4;
const GREATEST_PRICE: f64 = 1e8;
/// Of the interval of prices, in logarithms: more exact than any weight.
const HALVINGS: usize = 40;
/// Utilisations at which the growth of a queue is tabulated, denser towards 1.
const GRID: usize = 512;
/// Numbers of slots whose table is kept.
const MOST_TABLES: usize = 1024;

/// What a group can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capacity {
    /// Of all its replicas together.
    pub slots: f64,
    /// Of a slot, in any unit that is the same for all groups.
    pub speed: f64,
    /// Its least share, as a part of its proportion by capacity.
    pub probe: f64,
}

impl Capacity {
    /// Return slots times speed.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.slots * self.speed
    }
}

/// Return the share of each group; they add up to 1. `utilisation`: load divided by capacity of all.
///
/// One load report is like the one before it, and rounded values give the same shares for both.
#[must_use]
pub fn divide(groups: &[Capacity], utilisation: f64) -> Vec<f64> {
    if groups.len() == 1 {
        return vec![1.0];
    }
    let utilisation = (utilisation.clamp(LEAST_LOAD, GREATEST_LOAD) * 100.0).round() / 100.0;
    let fastest = groups.iter().map(|group| group.speed).fold(f64::MIN_POSITIVE, f64::max);
    let queues: Vec<Queue> = groups.iter().map(|group| Queue::new(group, fastest)).collect();
    let capacity: f64 = queues.iter().map(Queue::capacity).sum();
    let (mut low, mut high) = (LEAST_PRICE, GREATEST_PRICE);
    for _ in 0..HALVINGS {
        let price = (low * high).sqrt();
        if queues.iter().map(|queue| queue.load(price)).sum::<f64>() < utilisation * capacity {
            low = price;
        } else {
            high = price;
        }
    }
    let loads: Vec<f64> = queues.iter().map(|queue| queue.load(high)).collect();
    let total: f64 = loads.iter().sum();
    let least = |(queue, group): (&Queue, &Capacity)| group.probe * queue.capacity() / capacity;
    let probed = loads.iter().zip(queues.iter().zip(groups)).map(|(load, both)| (load / total).max(least(both)));
    let shares: Vec<f64> = probed.collect();
    let total: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / total).collect()
}

/// A group with rounded values.
struct Queue {
    slots: f64,
    speed: f64,
    growths: Rc<[f64; GRID]>,
}

impl Queue {
    fn new(group: &Capacity, fastest: f64) -> Self {
        let slots = group.slots.round_ties_even().max(1.0);
        Self { slots, speed: two_digits(group.speed / fastest), growths: growths(slots) }
    }

    fn capacity(&self) -> f64 {
        self.slots * self.speed
    }

    /// Return the load at which one more request costs `price`.
    fn load(&self, price: f64) -> f64 {
        self.capacity() * self.utilisation(self.slots * (self.speed * price - FIRST_TOKEN))
    }

    /// Return the utilisation at which the queue grows by `marginal` a unit of load; 0 if it never does.
    fn utilisation(&self, marginal: f64) -> f64 {
        if marginal <= 0.0 {
            return 0.0;
        }
        match self.growths.partition_point(|growth| *growth < marginal) {
            0 => grid(0),
            GRID => grid(GRID - 1),
            above => {
                let (low, high) = (self.growths[above - 1], self.growths[above]);
                grid(above - 1) + (marginal - low) / (high - low) * (grid(above) - grid(above - 1))
            }
        }
    }
}

fn grid(number: usize) -> f64 {
    1.0 - (1.0 - number as f64 / GRID as f64).powi(2)
}

/// Return the value with two significant digits.
fn two_digits(value: f64) -> f64 {
    format!("{value:.1e}").parse().unwrap_or(value)
}

/// Return the derivative of the queue's length by the utilisation, at all of the grid.
fn growths(slots: f64) -> Rc<[f64; GRID]> {
    thread_local! {
        static TABLES: RefCell<HashMap<u64, Rc<[f64; GRID]>>> = RefCell::default();
    }
    TABLES.with_borrow_mut(|tables| {
        if tables.len() >= MOST_TABLES {
            tables.clear();
        }
        let table = || Rc::new(std::array::from_fn(|number| growth(slots, grid(number))));
        tables.entry(slots.to_bits()).or_insert_with(table).clone()
    })
}

fn growth(slots: f64, utilisation: f64) -> f64 {
    let power = (2.0 * (slots + 1.0)).sqrt() - 1.0;
    let free = 1.0 - utilisation;
    (power + 1.0) * utilisation.powf(power) / free + utilisation.powf(power + 1.0) / free.powi(2)
}
