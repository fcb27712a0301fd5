//! Which requests' spans are exported. Envoy decides, and the filter has to come to the same result, because it cannot
//! read Envoy's: the rules are those of Envoy's samplers `parent_based` and `trace_id_ratio_based`.

/// A million: all.
const ALL: u64 = 1_000_000;

/// What the gateway's tracer samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// Whether the flag in a client's `traceparent` decides.
    pub follows_clients: bool,
    /// Of a million traces, by their ids.
    pub millionths: u64,
}

impl Sampling {
    /// Reads `<millionths>`, or `<millionths> follow`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let (millionths, follows_clients) = match text.strip_suffix(" follow") {
            Some(millionths) => (millionths, true),
            None => (text, false),
        };
        Some(Self { follows_clients, millionths: millionths.parse().ok()? })
    }

    /// Whether spans of the trace are exported, given the request's `traceparent`.
    #[must_use]
    pub fn includes(&self, traceparent: Option<&[u8]>, trace: &str) -> bool {
        let parent = traceparent.and_then(|value| std::str::from_utf8(value).ok());
        match parent.filter(|_| self.follows_clients).and_then(|parent| flag_of(parent, trace)) {
            Some(is_sampled) => is_sampled,
            None => first_bytes(trace).is_some_and(|number| number % ALL < self.millionths),
        }
    }
}

/// The flag of a `traceparent` of this trace; of another one Envoy has not continued the trace.
fn flag_of(traceparent: &str, trace: &str) -> Option<bool> {
    let mut parts = traceparent.split('-').skip(1);
    let (id, _, flags) = (parts.next()?, parts.next()?, parts.next()?);
    let flags = u8::from_str_radix(flags, 16).ok()?;
    id.eq_ignore_ascii_case(trace).then_some(flags & 1 == 1)
}

/// The first eight bytes of an id in hexadecimal digits, as a little-endian number.
fn first_bytes(trace: &str) -> Option<u64> {
    Some(u64::from_str_radix(trace.get(..16)?, 16).ok()?.swap_bytes())
}

#[cfg(test)]
mod tests {
    use super::Sampling;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn follow(flag: &str) -> bool {
        let parent = format!("00-{TRACE}-00f067aa0ba902b7-{flag}");
        let sampling = Sampling::read("0 follow").expect("a sampling");
        sampling.includes(Some(parent.as_bytes()), TRACE)
    }

    #[test]
    fn the_flag_of_a_client_decides_if_it_is_followed() {
        assert_eq!([follow("01"), follow("00"), follow("03")], [true, false, true]);
    }

    #[test]
    fn other_traces_are_sampled_by_their_id() {
        let includes = |text: &str| Sampling::read(text).expect("a sampling").includes(None, TRACE);
        assert_eq!([includes("1000000"), includes("0"), includes("0 follow")], [true, false, false]);
    }

    #[test]
    fn what_is_no_sampling_is_none() {
        assert_eq!([Sampling::read(""), Sampling::read("x follow")], [None, None]);
    }
}
