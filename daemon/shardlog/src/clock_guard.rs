//! Whether the wall clock is fit to throw records away by.
//!
//! Invariant: it is told the time, never asks for it. The rules: after a start the clock is believed once the system says
//! that it is synchronised, or after an hour, for many machines never say so, and in an hour a time service has done its
//! work. A clock that stepped by more than an hour is not believed for an hour: an operator can still see that it is wrong.
//! A machine that slept looks the same, and waits too.

use std::time::Duration;

use hydrant_record::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);

/// One look at the clocks.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Since any moment that stays the same; never goes back.
    pub monotonic: Duration,
    pub wall: Timestamp,
    /// The system says that the wall clock is synchronised. `false` does not prove that it is not.
    pub synchronised: bool,
}

/// What may be done by the wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    Believed,
    /// The daemon has just started, and the clock may not be set yet.
    Unproved,
    /// It went forward or back by more than an hour against the monotonic clock, less than an hour ago.
    Stepped,
}

/// Compares one look at the clocks with the next; often enough is once a minute.
#[derive(Clone, Debug, Default)]
pub struct ClockGuard {
    proved: bool,
    first: Option<Duration>,
    last: Option<(Duration, Timestamp)>,
    stepped: Option<Duration>,
}

impl ClockGuard {
    pub fn check(&mut self, now: Look) -> Trust {
        let first = *self.first.get_or_insert(now.monotonic);
        if let Some((monotonic, wall)) = self.last.replace((now.monotonic, now.wall)) {
            let due = wall.as_millis().saturating_add(millis(now.monotonic.saturating_sub(monotonic)));
            if now.wall.as_millis().abs_diff(due) > millis(HOUR) {
                self.stepped = Some(now.monotonic);
            }
        }
        self.proved |= now.synchronised || now.monotonic.saturating_sub(first) >= HOUR;
        let stepped = self.stepped.is_some_and(|stepped| now.monotonic.saturating_sub(stepped) < HOUR);
        match (stepped, self.proved) {
            (true, _) => Trust::Stepped,
            (false, true) => Trust::Believed,
            (false, false) => Trust::Unproved,
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Minutes of the monotonic clock, minutes of the wall clock, and whether it is synchronised.
    fn look((monotonic, wall, synchronised): (u64, u64, bool)) -> Look {
        let wall = Timestamp::from_millis(1_700_000_000_000 + wall * 60_000);
        Look { monotonic: Duration::from_secs(5 + monotonic * 60), wall, synchronised }
    }

    fn checked(looks: &[(u64, u64, bool)]) -> Vec<Trust> {
        let mut guard = ClockGuard::default();
        looks.iter().map(|at| guard.check(look(*at))).collect()
    }

    use Trust::{Believed, Stepped, Unproved};

    #[test]
    fn a_synchronised_clock_is_believed_at_once_and_for_good() {
        assert_eq!(checked(&[(0, 0, true), (1, 1, false)]), [Believed, Believed]);
        assert_eq!(checked(&[(0, 0, false), (1, 1, true), (2, 2, false)]), [Unproved, Believed, Believed]);
    }

    #[test]
    fn one_that_says_nothing_is_believed_after_an_hour() {
        assert_eq!(checked(&[(0, 0, false), (59, 59, false), (60, 60, false)]), [Unproved, Unproved, Believed]);
    }

    #[test]
    fn after_a_step_of_more_than_an_hour_it_waits_for_an_hour() {
        for (from, to) in [(100, 1000), (1000, 100)] {
            let looks = [(0, from, true), (1, to, true), (60, to + 59, true), (61, to + 60, true)];
            assert_eq!(checked(&looks), [Believed, Stepped, Stepped, Believed], "from {from} to {to}");
        }
        // Small corrections are none, and each large one counts from itself.
        assert_eq!(checked(&[(0, 0, true), (1, 61, true), (2, 2, true)]), [Believed; 3]);
        let twice = [(0, 0, true), (1, 500, true), (50, 0, true), (62, 12, true), (110, 60, true)];
        assert_eq!(checked(&twice), [Believed, Stepped, Stepped, Stepped, Believed]);
    }

    #[test]
    fn a_clock_that_is_set_right_soon_after_the_start_waits_from_then_on() {
        let looks = [(0, 0, false), (2, 90_000, true), (61, 90_059, true), (62, 90_060, true)];
        assert_eq!(checked(&looks), [Unproved, Stepped, Stepped, Believed]);
    }
}
