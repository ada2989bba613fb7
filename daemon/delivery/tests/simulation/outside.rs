//! What the process talks to: two places that outlive it, and the weather between.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use hydrant_disk::sim::Dice;
use hydrant_shardlog::Clock as _;
use hydrant_sinks::{Delivery, Receipt, Refusal, SinkErrorKind};
use tokio::sync::Notify;

use crate::clock::SimClock;
use crate::record::says;
use crate::truth::Truth;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Destination,
    Backup,
}

/// What was sent and is on its way: it arrives, whatever becomes of who sent it.
#[derive(Clone, Debug)]
pub(crate) struct Cargo {
    place: Place,
    key: String,
    /// Of a request: its items that were asked for, with the numbers of their records.
    items: Option<Vec<(u32, u64)>>,
}

/// How an attempt goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Told,
    /// It arrives, and the answer does not.
    Lost,
    /// Nothing arrives, and this is the answer.
    Refused(Kind),
    /// Somebody kills the process when it has arrived.
    KilledBehind,
    KilledBefore,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Transient,
    Misconfigured,
    Rejected,
}

/// What an attempt brings with it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) cargo: Cargo,
    pub(crate) course: Course,
    pub(crate) there: Duration,
    pub(crate) back: Duration,
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) truth: Truth,
    /// All works from now on.
    pub(crate) calm: bool,
    pub(crate) kill: Arc<Notify>,
    pub(crate) attempts: u64,
    dice: Dice,
    clock: Arc<SimClock>,
    /// By place: nothing works there until then.
    down: [Option<tokio::time::Instant>; 2],
    under_way: Vec<Cargo>,
    trace: DefaultHasher,
    pub(crate) told: bool,
}

impl Outside {
    pub(crate) fn new(dice: Dice, truth: Truth, clock: Arc<SimClock>) -> Outside {
        Outside {
            truth,
            calm: false,
            kill: Arc::default(),
            attempts: 0,
            dice,
            clock,
            down: [None; 2],
            under_way: Vec::new(),
            trace: DefaultHasher::new(),
            told: false,
        }
    }

    pub(crate) fn chance(&mut self, wins: u64, of: u64) -> bool {
        !self.calm && self.dice.chance(wins, of)
    }

    /// How long a step of the process takes.
    pub(crate) fn pause(&mut self) -> Duration {
        Duration::from_millis([0, 0, 0, 0, 0, 1, 7, 300][usize::try_from(self.dice.below(8)).unwrap()])
    }

    /// Something happened, now.
    pub(crate) fn note(&mut self, what: impl fmt::Display) {
        let line = format!("{} {what}", self.clock.now().as_millis());
        line.hash(&mut self.trace);
        if self.told {
            eprintln!("{line}");
        }
    }

    /// What happened so far, in one number.
    pub(crate) fn trace(&self) -> u64 {
        self.trace.finish()
    }

    pub(crate) fn goes_down(&mut self, place: Place, time: Duration) {
        self.down[place as usize] = Some(tokio::time::Instant::now() + time);
    }

    /// A new life has another clock.
    pub(crate) fn comes_up(&mut self) {
        self.down = [None; 2];
    }

    /// The process sends this; what comes of it.
    pub(crate) fn begin(&mut self, place: Place, delivery: &Delivery, bytes: &[u8]) -> Attempt {
        self.attempts += 1;
        let numbers = self.truth.attempted(place, delivery, bytes);
        let items = delivery.items.as_ref().map(|items| {
            assert_eq!(items.count as usize, numbers.len());
            let open = (0..).zip(numbers).filter(|(item, _)| !items.settled.contains(*item));
            open.inspect(|(_, number)| self.truth.assert_unjudged(*number)).collect::<Vec<_>>()
        });
        let course = self.course(place, items.is_some());
        self.note(format_args!("{place:?} {}: {course:?}", delivery.key));
        let cargo = Cargo { place, key: delivery.key.clone(), items };
        let (there, back) = (self.latency(), self.latency());
        let retry_after = self.chance(1, 3).then(|| Duration::from_secs(self.dice.below(400)));
        Attempt { cargo, course, there, back, retry_after }
    }

    fn course(&mut self, place: Place, is_request: bool) -> Course {
        if self.calm {
            return Course::Told;
        }
        let down = self.down[place as usize].is_some_and(|until| tokio::time::Instant::now() < until);
        match self.dice.below(100) {
            _ if down => Course::Refused(Kind::Transient),
            0..66 => Course::Told,
            66..76 => Course::Lost,
            76..86 => Course::Refused(Kind::Transient),
            86..90 => Course::Refused(Kind::Misconfigured),
            90..92 if is_request => Course::Refused(Kind::Rejected),
            90..93 => Course::KilledBehind,
            93..95 => Course::KilledBefore,
            _ => Course::Told,
        }
    }

    fn latency(&mut self) -> Duration {
        if self.calm {
            return Duration::from_millis(1);
        }
        Duration::from_millis([0, 3, 20, 20, 400, 60_000][usize::try_from(self.dice.below(6)).unwrap()])
    }

    /// It has arrived: what its place would answer.
    pub(crate) fn arrive(&mut self, cargo: &Cargo) -> Receipt {
        let Some(items) = &cargo.items else {
            return Receipt::taken(self.truth.arrived(cargo.place, &cargo.key));
        };
        let mut receipt = Receipt::default();
        for &(item, number) in items {
            let body = self.truth.body(number).clone();
            if says(&body, "bad") {
                let (code, message) = ("400".to_owned(), "it is not liked".to_owned());
                receipt.refused.push(Refusal { item, code, message });
            } else if !self.truth.is_taken(number) && says(&body, "busy") && self.chance(2, 3) {
                receipt.again.push(item);
            } else {
                self.truth.taken(number);
            }
        }
        if !receipt.again.is_empty() {
            receipt.why_again = Some(("429".to_owned(), "too many requests".to_owned()));
        }
        receipt
    }

    /// Who sent it has stopped waiting for it: it may still arrive, later.
    pub(crate) fn forgotten(&mut self, cargo: Cargo) {
        if self.dice.chance(1, 2) {
            self.under_way.push(cargo);
        }
    }

    /// Some of what is under way arrives.
    pub(crate) fn some_arrive(&mut self) {
        while !self.under_way.is_empty() && (self.calm || self.dice.chance(1, 2)) {
            let cargo = self.under_way.remove(0);
            self.arrive(&cargo);
        }
    }
}

impl From<Kind> for SinkErrorKind {
    fn from(kind: Kind) -> SinkErrorKind {
        match kind {
            Kind::Transient => SinkErrorKind::Transient,
            Kind::Misconfigured => SinkErrorKind::Misconfigured,
            Kind::Rejected => SinkErrorKind::Rejected,
        }
    }
}
