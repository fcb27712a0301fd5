//! A line of the usage log. docs/architecture.md fixes its columns.

use std::fmt::Write;

/// Short names of Envoy's response flags, by their bits (CoreResponseFlag in envoy/stream_info/stream_info.h).
const FLAGS: [&str; 30] = [
    "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE", "DC", "URX", "SI", "IH",
    "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF", "DO", "DR", "UDO",
];
const NANOSECONDS_A_MILLISECOND: i64 = 1_000_000;

/// What the filter knows of a request that has ended.
#[derive(Debug)]
pub struct Charge {
    /// The request's id.
    pub id: String,
    /// Operation, whether it is a stream, and grant, as their columns.
    pub grant: String,
    /// What is known of its tokens.
    pub usage: Option<String>,
}

/// What Envoy knows of it.
#[derive(Clone, Copy, Debug)]
pub struct End<'envoy> {
    /// When it began, in nanoseconds since the epoch.
    pub began: i64,
    /// From its begin to its end, in nanoseconds; `None`: unknown.
    pub lasted: Option<i64>,
    /// From its begin to the first byte of its answer, in nanoseconds; `None`: there was no answer.
    pub first_byte: Option<i64>,
    /// The answer's status; 0: there was no answer.
    pub status: u32,
    /// Envoy's response flags.
    pub flags: u64,
    /// How often it was sent to a replica.
    pub attempts: u32,
    /// Address of the replica that has answered, or was tried last.
    pub upstream: Option<&'envoy str>,
}

/// Returns the line of a request. It begins with a newline: a line that was cut before it ends here.
#[must_use]
pub fn usage_line(charge: &Charge, end: &End) -> String {
    let mut line = String::with_capacity(256);
    let began = end.began.max(0) / NANOSECONDS_A_MILLISECOND;
    // A String takes all that is written.
    let _ = write!(line, "\n2\t{}\t{}.{:03}\t", charge.id, began / 1000, began % 1000);
    for duration in [end.lasted, end.first_byte] {
        match duration {
            Some(nanoseconds) => _ = write!(line, "{}\t", nanoseconds / NANOSECONDS_A_MILLISECOND),
            None => line.push_str("-\t"),
        }
    }
    let _ = write!(line, "{}\t", end.status);
    push_flags(&mut line, end.flags);
    let (upstream, usage) = (end.upstream.unwrap_or("-"), charge.usage.as_deref().unwrap_or("-"));
    let _ = writeln!(line, ",{}\t{upstream}\t{}\t{usage}\t.", end.attempts, charge.grant);
    line
}

fn push_flags(line: &mut String, flags: u64) {
    if flags == 0 {
        line.push('-');
        return;
    }
    let mut separator = "";
    for (bit, name) in FLAGS.iter().enumerate() {
        if flags >> bit & 1 == 1 {
            line.push_str(separator);
            line.push_str(name);
            separator = ",";
        }
    }
}
