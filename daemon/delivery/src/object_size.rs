//! How large objects become once they are encoded: estimated from those before, and measured while one is encoded.
//!
//! Invariant: it decides only where one object ends and the next begins, never what is delivered.

use std::sync::atomic::{AtomicU64, Ordering};

/// A ratio of one to one.
const ONE: u64 = 1 << 20;
/// What an encoder has written of an object tells nothing before this.
const MEASURED_MIN: u64 = 128 << 10;
/// Fewer bytes, before encoding, tell nothing of those that follow.
const LEARNED_MIN: u64 = 64 << 10;
/// So much of an object's size is rather put behind it than into an object of its own.
const REST: u64 = 4;

/// Encoded bytes for each byte before encoding, over the objects of a delivery stream since its start.
#[derive(Debug, Default)]
pub(crate) struct Ratio(AtomicU64);

impl Ratio {
    /// One to one as long as nothing is known.
    fn get(&self) -> u64 {
        match self.0.load(Ordering::Relaxed) {
            0 => ONE,
            known => known,
        }
    }

    /// What so many bytes will be.
    pub(crate) fn encoded(&self, plain: u64) -> u64 {
        scaled(plain, self.get())
    }

    /// Takes an object into the average; the latest ones count most.
    pub(crate) fn learn(&self, plain: u64, encoded: u64) {
        if plain < LEARNED_MIN {
            return;
        }
        let now = share(plain, encoded).max(1);
        let next = match self.0.load(Ordering::Relaxed) {
            0 => now,
            known => known - known / 2 + now / 2,
        };
        self.0.store(next, Ordering::Relaxed);
    }

    /// Of the next object: `size` before encoding, and `object_size` behind it if that is given.
    pub(crate) fn limit(&self, size: u64, object_size: Option<u64>) -> Limit {
        let object = object_size.map(|bytes| Course { bytes, ratio: self.get(), written: 0, plain: 0 });
        Limit { size, object }
    }
}

/// Where an object ends.
#[derive(Debug)]
pub(crate) struct Limit {
    size: u64,
    object: Option<Course>,
}

/// An object on its way to its size.
#[derive(Debug)]
struct Course {
    bytes: u64,
    ratio: u64,
    /// As the encoder was last seen to write, and what it had taken by then.
    written: u64,
    plain: u64,
}

impl Limit {
    /// Only before encoding.
    pub(crate) fn plain(size: u64) -> Limit {
        Limit { size, object: None }
    }

    /// Whether the object is full: `plain` bytes were taken, `written` have come out of the encoder, and `rest` says how many
    /// are left to take.
    pub(crate) fn is_reached(&mut self, plain: u64, written: u64, rest: impl FnOnce() -> u64) -> bool {
        if plain >= self.size {
            return true;
        }
        let Some(object) = &mut self.object else { return false };
        if written != object.written {
            (object.written, object.plain) = (written, plain);
        }
        let ratio = if written >= MEASURED_MIN { share(object.plain, written) } else { object.ratio };
        let expected = written.saturating_add(scaled(plain - object.plain, ratio));
        expected >= object.bytes && scaled(rest(), ratio) > object.bytes / REST
    }
}

fn share(plain: u64, encoded: u64) -> u64 {
    u64::try_from(u128::from(encoded) * u128::from(ONE) / u128::from(plain.max(1))).unwrap_or(u64::MAX)
}

fn scaled(plain: u64, ratio: u64) -> u64 {
    u64::try_from(u128::from(plain) * u128::from(ratio) / u128::from(ONE)).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_ratio_follows_what_is_encoded() {
        let ratio = Ratio::default();
        assert_eq!(ratio.encoded(MIB), MIB, "nothing is known yet");
        ratio.learn(10 * MIB, MIB);
        assert_eq!(ratio.encoded(100 * MIB) / MIB, 9);
        ratio.learn(1_000, 1);
        assert_eq!(ratio.encoded(100 * MIB) / MIB, 9, "too little to learn from");
        for _ in 0..20 {
            ratio.learn(10 * MIB, 5 * MIB);
        }
        assert!((49 * MIB..=50 * MIB).contains(&ratio.encoded(100 * MIB)), "{}", ratio.encoded(100 * MIB));
    }

    #[test]
    fn an_object_ends_by_what_is_measured_rather_than_by_what_was_expected() {
        let ratio = Ratio::default();
        ratio.learn(10 * MIB, MIB);
        let limit = || ratio.limit(1 << 30, Some(4 * MIB));
        assert!(!limit().is_reached(30 * MIB, 0, || 100 * MIB));
        assert!(limit().is_reached(41 * MIB, 0, || 100 * MIB), "as expected");
        let mut denser = limit();
        assert!(!denser.is_reached(10 * MIB, 3 * MIB, || 100 * MIB));
        assert!(denser.is_reached(14 * MIB, 3 * MIB, || 100 * MIB), "three for ten, and then a third more");
        assert!(!limit().is_reached(41 * MIB, 0, || 9 * MIB), "the rest is no object of its own");
        assert!(Limit::plain(MIB).is_reached(MIB, 0, || 1));
        assert!(!Limit::plain(MIB).is_reached(MIB - 1, 9 * MIB, || 1));
    }
}
