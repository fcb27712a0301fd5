//! A line of the usage log: a JSON array. docs/architecture/leases.md fixes its members.

use std::fmt::Write;
use std::rc::Rc;

use crate::amounts::Reservation;
use crate::json_text::push_text;

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
    /// Name of its operation.
    pub operation: &'static str,
    /// Whether it is a stream.
    pub stream: bool,
    /// Namespace, endpoint, token and lease.
    pub grant: Rc<str>,
    /// What it has reserved.
    pub reserved: Reservation,
    /// What is known of its tokens: `e,<prompt>,<completion>` or `d,<events>`.
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
    let milliseconds = |nanoseconds: i64| nanoseconds.max(0) / NANOSECONDS_A_MILLISECOND;
    let (began, lasted) = (milliseconds(end.began), milliseconds(end.lasted.unwrap_or(0)));
    let first_byte = milliseconds(end.first_byte.unwrap_or(0));
    let mut line = String::with_capacity(256);
    line.push_str("\n[\"E\",");
    push_text(&mut line, &charge.id);
    // A String takes all that is written.
    let _ = write!(line, ",{began},{lasted},{first_byte},{},\"", end.status);
    push_flags(&mut line, end.flags);
    let _ = write!(line, "\",{},", end.attempts);
    push_text(&mut line, end.upstream.unwrap_or_default());
    let _ = write!(line, ",\"{}\",{},", charge.operation, charge.stream);
    push_text(&mut line, &charge.grant);
    let (kind, counts) = charge.usage.as_deref().unwrap_or("-").split_at(1);
    let _ = writeln!(line, ",{},{},\"{kind}\"{counts}]", charge.reserved.prompt, charge.reserved.completion);
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
