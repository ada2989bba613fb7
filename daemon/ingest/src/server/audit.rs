//! What is written of requests: refusals for who looks after the daemon, and the audit (`target: audit`) for who asks later who
//! did what. Strangers cannot fill a disk with either: where anybody can cause a line, there is one a second.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use http::request::Parts;
use hydrant_shardlog::Clock;

use crate::access::Called;
use crate::{ApiError, Auth, Refusal};

/// One line a second at most, and how many there were beside it.
#[derive(Debug, Default)]
struct Rate {
    second: AtomicU64,
    unwritten: AtomicU64,
}

impl Rate {
    /// Those unwritten since the last line, if there may be one now.
    fn pass(&self, clock: &dyn Clock) -> Option<u64> {
        let now = clock.now().as_millis() / 1000;
        if self.second.swap(now, Ordering::Relaxed) == now {
            self.unwritten.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.unwritten.swap(0, Ordering::Relaxed))
    }
}

/// Any refusal.
#[derive(Debug, Default)]
pub(super) struct RefusalLog(Rate);

impl RefusalLog {
    pub(super) fn note(&self, error: Option<&ApiError>, peer: SocketAddr, clock: &dyn Clock) {
        let Some(error) = error else { return };
        let Some(others) = self.0.pass(clock) else { return };
        tracing::warn!(code = error.code, reason = error.reason.as_str(), %peer, others, "refused: {}", error.message);
    }
}

/// Every call of the control plane, with its result, and every call that a policy refused. Callers whose signature is not good
/// come by the second.
#[derive(Debug, Default)]
pub(super) struct Audit(Rate);

impl Audit {
    pub(super) fn note(
        &self,
        called: &Called,
        error: Option<&ApiError>,
        (head, source): (&Parts, SocketAddr),
        clock: &dyn Clock,
    ) {
        let result = error.map_or("ok", |error| error.code);
        let reason = error.map(|error| error.reason);
        if let Some(who) = &called.who {
            if called.is_control_plane() || reason == Some(Refusal::Denied) {
                let (action, resource) = (called.action.as_str(), called.resources.join(" "));
                tracing::info!(target: "audit", who, action, resource, result, %source, "call");
            }
        } else if reason == Some(Refusal::Authentication)
            && let Some(others) = self.0.pass(clock)
        {
            let claimed = Auth::claimed(head).unwrap_or_default();
            let target = crate::request::target_text(head);
            tracing::info!(target: "audit", claimed, action = target, result, %source, others, "stranger");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hydrant_record::Timestamp;

    #[derive(Debug)]
    struct At(AtomicU64);

    impl Clock for At {
        fn now(&self) -> Timestamp {
            Timestamp::from_millis(self.0.load(Ordering::Relaxed))
        }
    }

    #[test]
    fn one_line_a_second_tells_of_those_beside_it() {
        let (rate, clock) = (Rate::default(), At(AtomicU64::new(5000)));
        assert_eq!(rate.pass(&clock), Some(0));
        assert_eq!((rate.pass(&clock), rate.pass(&clock)), (None, None));
        clock.0.store(6000, Ordering::Relaxed);
        assert_eq!(rate.pass(&clock), Some(2));
    }
}
