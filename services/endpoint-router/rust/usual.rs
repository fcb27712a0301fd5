//! How much readings of a replica's pace usually differ from their mean, so that an unusual one is recognised.

/// A reading that differs by this many times the usual difference is unusual.
const USUAL_SPREADS: f64 = 3.0;
/// The usual difference is known after this many readings.
const LEAST_READINGS: u32 = 10;
/// The usual difference follows greater ones within about this many readings.
const GROWING_READINGS: u32 = 10;
/// It follows smaller ones within about this many: so it is near the greatest of the usual ones, and other requests than
/// before do not look like another engine for long.
const SHRINKING_READINGS: u32 = 100;

/// Differences are logarithms of a reading's pace divided by the mean.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usual {
    /// The difference of the last reading.
    pub last: f64,
    /// The usual absolute difference.
    pub spread: f64,
    /// Those that count.
    pub readings: u32,
}

impl Usual {
    /// Add a reading. `counts`: it has enough work to show how much readings differ.
    pub fn add(&mut self, difference: f64, counts: bool) {
        self.last = difference;
        if !counts {
            return;
        }
        let more = difference.abs() - self.spread;
        self.readings = self.readings.saturating_add(1);
        let most = if more > 0.0 { GROWING_READINGS } else { SHRINKING_READINGS };
        self.spread += more / f64::from(self.readings.min(most));
    }

    /// Return whether this reading is unusual, and the last one was in the same direction.
    ///
    /// `least`: a smaller difference is none. Half of it is enough for the reading before: the change may have come in
    /// the middle of it.
    #[must_use]
    pub fn is_exceeded(&self, difference: f64, least: f64) -> bool {
        if self.readings < LEAST_READINGS {
            return false;
        }
        let wanted = least.max(USUAL_SPREADS * self.spread);
        difference.abs() >= wanted && difference.signum() * self.last >= wanted / 2.0
    }
}
