//! W3C trace context, as a record carries it: which trace it is of, and which span caused it. What happens on the way of a
//! command has span ids that follow from the records' own ids, so that a trace needs no state, and repeats are one span.

use std::fmt;

use uuid::Uuid;

/// A place in a trace: the content of the header `traceparent` (<https://www.w3.org/TR/trace-context/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// the trace, not zero
    pub trace: u128,
    /// the span that caused what carries this, not zero
    pub span: u64,
    /// Bit 0: spans of it are recorded.
    pub flags: u8,
}

/// Recorded, as bit 0 of the flags says it.
const SAMPLED: u8 = 1;

impl TraceContext {
    /// One that is recorded.
    pub fn sampled(trace: u128, span: u64) -> Self {
        Self { trace, span, flags: SAMPLED }
    }

    /// What a header says: version, trace, parent and flags in lower-case hex, 55 characters; a later version may
    /// say more behind them, which is passed over (W3C Trace Context, 3.2.4). None if it is no such text.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |part: &str, length: usize| {
            let wanted = part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            wanted.then(|| u128::from_str_radix(part, 16).ok()).flatten()
        };
        let mut parts = text.splitn(5, '-');
        let mut next = |length| hex(parts.next()?, length);
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        if version == 0xff || trace == 0 || span == 0 || (version == 0 && parts.next().is_some()) {
            return None;
        }
        Some(Self { trace, span: u64::try_from(span).ok()?, flags: u8::try_from(flags).ok()? })
    }

    /// Whether spans of this trace are recorded.
    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// What this span causes in turn.
    #[must_use]
    pub fn child(self, span: u64) -> Self {
        Self { span, ..self }
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

/// The id of the span in which `step` was done for the record with this id: the first half of a UUIDv5, and never zero.
pub fn span_of(step: &str, id: &str) -> u64 {
    let (high, _) = Uuid::new_v5(&Uuid::NAMESPACE_OID, format!("{step}/{id}").as_bytes()).as_u64_pair();
    high.max(1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_child_is_of_the_same_trace() {
        let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let context = TraceContext::parse(text).unwrap();
        assert_eq!(context.to_string(), text);
        assert!(context.is_sampled() && !TraceContext { flags: 2, ..context }.is_sampled());
        let child = context.child(span_of("process", "command-1"));
        assert_eq!((child.trace, child.flags), (context.trace, context.flags));
        assert_ne!(child.span, span_of("send", "command-1"));
        assert_eq!(TraceContext::parse(&child.to_string()), Some(child));
        assert_eq!(TraceContext::parse(&format!("cc{}-more", &text[2..])), Some(context), "a later version");
        assert_eq!((TraceContext::parse(&format!("{text}-more")), TraceContext::parse(&format!("ff{}", &text[2..]))), (None, None));
        assert_eq!(TraceContext::parse("00-0af7651916cd43dd8448eb211c80319c-+7ad6b7169203331-01"), None, "a sign is no digit");
    }
}
