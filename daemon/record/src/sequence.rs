//! The number by which the Kinesis API names a record: 56 decimal digits with the LSN inside.
//!
//! Consumers treat it as an opaque whole number that grows, and nothing else; the layout is the one that AWS gives out.
//!
//! ```text
//! 47 hexadecimal digits, 186 bits, the most significant first
//!    1  always 2
//!    9  second in which the shard was created
//!    1  low digit of the shard
//!   16  LSN; 0 is the start of the shard, 7fffffffffffffff the end of a closed one
//!    2  always 00
//!    9  second in which the record was stored, or the shard closed
//!    8  shard
//!    1  version, 2
//! ```
//!
//! Invariant: every value has this shape, so two of them compare as the whole numbers that they show.

use std::fmt;
use std::str::FromStr;

use crate::hash::is_plain_decimal;
use crate::{Lsn, ShardIx, Timestamp};

/// Names a record, or the start or the end of a shard, in one stream.
///
/// Numbers of one shard order as its LSNs do. All numbers of a shard are above those of another if it was created in a
/// later second; so children must be, and what the clock said when a record was stored decides nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber {
    /// The digits down to the LSN.
    high: u128,
    /// The 20 digits below it.
    low: u128,
}

/// The digits of a number; all have as many.
#[derive(Clone, Copy, Debug)]
pub struct SequenceDigits([u8; SEQUENCE_DIGITS]);

impl SequenceDigits {
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

const SEQUENCE_DIGITS: usize = 56;
/// What the wire allows in this place.
const DIGITS_MAX: usize = 129;
const SECONDS_MAX: u64 = (1 << 36) - 1;
const END: u64 = i64::MAX as u64;
const LEAD: u128 = 2;
const VERSION: u128 = 2;
const LOW_BITS: u32 = 80;
/// The largest power of ten in 64 bits.
const TEN_19: u64 = 10_000_000_000_000_000_000;

impl SequenceNumber {
    /// The number of a record that was stored at `at`; `lsn_or_zero` 0 stands for the start of the shard.
    ///
    /// The layout ends in the year 4147; a later time counts as that.
    ///
    /// # Panics
    /// From the LSN 2^63-1 on, which no log reaches.
    #[must_use]
    pub fn new(shard_created_at: Timestamp, shard: ShardIx, lsn_or_zero: u64, at: Timestamp) -> SequenceNumber {
        assert!(lsn_or_zero < END, "a log holds fewer than 2^63-1 records");
        SequenceNumber::assemble(shard_created_at, shard, lsn_or_zero, at)
    }

    /// Below every record of the shard.
    #[must_use]
    pub fn start_of_shard(created_at: Timestamp, shard: ShardIx) -> SequenceNumber {
        SequenceNumber::assemble(created_at, shard, 0, created_at)
    }

    /// Above every record of a shard that takes no more.
    #[must_use]
    pub fn end_of_shard(created_at: Timestamp, shard: ShardIx, closed_at: Timestamp) -> SequenceNumber {
        SequenceNumber::assemble(created_at, shard, END, closed_at)
    }

    fn assemble(created_at: Timestamp, shard: ShardIx, index: u64, at: Timestamp) -> SequenceNumber {
        let shard = u128::from(shard.0);
        SequenceNumber {
            high: LEAD << 104 | seconds(created_at) << 68 | (shard & 0xf) << 64 | u128::from(index),
            low: seconds(at) << 36 | shard << 4 | VERSION,
        }
    }

    #[must_use]
    pub fn shard(&self) -> ShardIx {
        ShardIx(u32::try_from(self.low >> 4 & 0xffff_ffff).expect("masked to 32 bits"))
    }

    /// `None` at the start and at the end of a shard.
    #[must_use]
    pub fn lsn(&self) -> Option<Lsn> {
        if self.is_end() { None } else { Lsn::new(self.index()) }
    }

    #[must_use]
    pub fn is_end(&self) -> bool {
        self.index() == END
    }

    /// When the shard was created, in whole seconds since 1970.
    #[must_use]
    pub fn shard_created_secs(&self) -> u64 {
        bottom(self.high >> 68) & SECONDS_MAX
    }

    /// When the record was stored, in whole seconds since 1970; at the start or the end of a shard, when that was.
    #[must_use]
    pub fn recorded_secs(&self) -> u64 {
        bottom(self.low >> 36) & SECONDS_MAX
    }

    fn index(&self) -> u64 {
        bottom(self.high)
    }

    /// The whole number, in 64-bit parts, the most significant first.
    fn limbs(&self) -> [u64; 3] {
        [bottom(self.high >> 48), bottom(self.high << 16 | self.low >> 64), bottom(self.low)]
    }

    /// What the number shows as, for those who write many of them.
    #[must_use]
    pub fn digits(&self) -> SequenceDigits {
        let [top, middle, last] = self.limbs();
        // Long division by 10^19, twice. Of 186 bits the first limb has 58, and of the quotient's 123 its first has 59: both
        // are below the divisor.
        let (middle, rest) = divide(top, middle);
        let (last, third) = divide(rest, last);
        let (first, second) = divide(middle, last);
        let mut digits = [0; SEQUENCE_DIGITS];
        let (high, low) = digits.split_at_mut(SEQUENCE_DIGITS - 19);
        write_digits(third, low);
        let (high, low) = high.split_at_mut(high.len() - 19);
        write_digits(second, low);
        write_digits(first, high);
        SequenceDigits(digits)
    }

    /// `None` unless the number has the shape that every value has.
    fn from_limbs([top, middle, last]: [u64; 3]) -> Option<SequenceNumber> {
        let high = u128::from(top) << 48 | u128::from(middle >> 16);
        let low = u128::from(middle & 0xffff) << 64 | u128::from(last);
        let number = SequenceNumber { high, low };
        let shaped = high >> 104 == LEAD
            && number.index() <= END
            && bottom(high >> 64) & 0xf == u64::from(number.shard().0 & 0xf)
            && low >> (LOW_BITS - 8) == 0
            && low & 0xf == VERSION;
        shaped.then_some(number)
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.digits().as_str())
    }
}

impl fmt::Debug for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why a text names no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceNumberError {
    #[error("a sequence number is a decimal number of 1 to 129 digits without leading zeros, got `{0}`")]
    NotANumber(String),
    #[error("`{0}` was never given out as a sequence number; take one from a record or a shard of this stream")]
    NeverGivenOut(String),
}

impl FromStr for SequenceNumber {
    type Err = SequenceNumberError;

    fn from_str(text: &str) -> Result<SequenceNumber, SequenceNumberError> {
        if text.len() > DIGITS_MAX || !is_plain_decimal(text) {
            return Err(SequenceNumberError::NotANumber(text.to_owned()));
        }
        whole_number(text)
            .and_then(SequenceNumber::from_limbs)
            .ok_or_else(|| SequenceNumberError::NeverGivenOut(text.to_owned()))
    }
}

/// Decimal digits as 64-bit parts, the most significant first; `None` from 2^192 on.
fn whole_number(digits: &str) -> Option<[u64; 3]> {
    let mut limbs = [0; 3];
    for digit in digits.bytes() {
        let mut carry = u128::from(digit - b'0');
        for limb in limbs.iter_mut().rev() {
            let product = u128::from(*limb) * 10 + carry;
            *limb = bottom(product);
            carry = product >> 64;
        }
        if carry > 0 {
            return None;
        }
    }
    Some(limbs)
}

/// Of two limbs, the quotient and the remainder by 10^19; `high` is below that, so both have one limb.
fn divide(high: u64, low: u64) -> (u64, u64) {
    let dividend = u128::from(high) << 64 | u128::from(low);
    (bottom(dividend / u128::from(TEN_19)), bottom(dividend % u128::from(TEN_19)))
}

/// The last digits of the number, as many as there is room for.
fn write_digits(mut number: u64, into: &mut [u8]) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).expect("one digit");
        number /= 10;
    }
}

fn seconds(at: Timestamp) -> u128 {
    u128::from((at.as_millis() / 1000).min(SECONDS_MAX))
}

#[expect(clippy::cast_possible_truncation, reason = "the upper half is what the caller leaves out")]
fn bottom(bits: u128) -> u64 {
    bits as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: Timestamp = Timestamp::from_millis(1_700_000_000_999);
    const FIRST_NUMBER: &str = "49646437577108476416916876405825929425585429676275269634";

    fn parse(text: &str) -> Result<SequenceNumber, SequenceNumberError> {
        text.parse()
    }

    #[test]
    fn numbers_are_those_of_aws() {
        assert_eq!(SequenceNumber::start_of_shard(CREATED, ShardIx(0)).to_string(), FIRST_NUMBER);
        assert_eq!(
            SequenceNumber::new(CREATED, ShardIx(3), 0, CREATED).to_string(),
            "49646437577175378652512468275250536580403374760793210930"
        );
        let hex = u128::from_str_radix("206553f10000000000000000000", 16).unwrap();
        assert_eq!(SequenceNumber::start_of_shard(CREATED, ShardIx(0)).high, hex);
    }

    /// Beside a division that takes one bit at a time.
    #[test]
    fn digits_are_those_of_the_whole_number() {
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state ^ state >> 29
        };
        for round in 0..10_000 {
            let lsn = [1, END - 1, random() % END][round % 3];
            let [created, at] = [random(), random()].map(|at| Timestamp::from_millis(at % (SECONDS_MAX * 1000)));
            let number = SequenceNumber::new(created, ShardIx(u32::try_from(random() >> 32).unwrap()), lsn, at);
            let mut limbs = number.limbs();
            let mut digits = Vec::new();
            while limbs != [0; 3] {
                let mut remainder = 0;
                for bit in (0..192).rev() {
                    let (limb, shift) = (2 - bit / 64, bit % 64);
                    remainder = remainder << 1 | limbs[limb] >> shift & 1;
                    limbs[limb] &= !(1 << shift);
                    if remainder >= 10 {
                        remainder -= 10;
                        limbs[limb] |= 1 << shift;
                    }
                }
                digits.push(b'0' + u8::try_from(remainder).unwrap());
            }
            digits.reverse();
            assert_eq!(number.to_string().as_bytes(), digits);
        }
    }

    #[test]
    fn the_number_in_the_guide_of_aws_reads() {
        let number = parse("49607357361271740811418664280693044274821622880012337186").unwrap();
        assert_eq!((number.shard(), number.recorded_secs(), number.is_end()), (ShardIx(2), 1_594_265_943, false));
        // 2020-05-26.
        assert_eq!(number.shard_created_secs() / 86_400, 18_408);
        assert_eq!(number.to_string(), "49607357361271740811418664280693044274821622880012337186");
    }

    #[test]
    fn what_is_put_in_comes_out_at_every_limit() {
        let late = Timestamp::from_millis(SECONDS_MAX * 1000);
        for (created, at) in [(Timestamp::from_millis(0), late), (late, Timestamp::from_millis(0)), (CREATED, CREATED)]
        {
            for shard in [0, 1, 15, 16, 0x1234_5678, u32::MAX] {
                for lsn in [0, 1, 0xffff, 0x1_0000, END - 1] {
                    let number = SequenceNumber::new(created, ShardIx(shard), lsn, at);
                    let text = number.to_string();
                    assert_eq!((text.len(), parse(&text)), (56, Ok(number)));
                    assert_eq!((number.shard(), number.lsn()), (ShardIx(shard), Lsn::new(lsn)));
                    assert_eq!(number.shard_created_secs(), created.as_millis() / 1000);
                    assert_eq!(number.recorded_secs(), at.as_millis() / 1000);
                    assert!(!number.is_end());
                }
            }
        }
        let beyond = SequenceNumber::start_of_shard(Timestamp::from_millis(u64::MAX), ShardIx(0));
        assert_eq!(beyond.shard_created_secs(), SECONDS_MAX);
    }

    #[test]
    fn a_shard_begins_below_its_records_and_ends_above_them() {
        let early = Timestamp::from_millis(0);
        let late = Timestamp::from_millis(SECONDS_MAX * 1000);
        let start = SequenceNumber::start_of_shard(CREATED, ShardIx(7));
        // The clock may go back: it's the LSN that orders.
        let first = SequenceNumber::new(CREATED, ShardIx(7), 1, late);
        let last = SequenceNumber::new(CREATED, ShardIx(7), END - 1, early);
        let end = SequenceNumber::end_of_shard(CREATED, ShardIx(7), early);
        assert!(start < first && first < last && last < end);
        assert_eq!((start.lsn(), end.lsn(), end.is_end()), (None, None, true));
        assert_eq!(parse(&end.to_string()), Ok(end));
        let a_second_later = Timestamp::from_millis(CREATED.as_millis() + 1);
        assert!(end < SequenceNumber::start_of_shard(a_second_later, ShardIx(0)));
    }

    #[test]
    fn they_order_as_the_numbers_that_they_show() {
        let mut numbers = Vec::new();
        for millis in [0, 1_000, CREATED.as_millis()] {
            for shard in [0, 15, 16, 31] {
                for lsn in [0, 1, 255, 256] {
                    let created = Timestamp::from_millis(millis);
                    numbers.push(SequenceNumber::new(created, ShardIx(shard), lsn, CREATED));
                }
            }
        }
        let mut by_text = numbers.clone();
        numbers.sort();
        // All have the same count of digits, so texts order as numbers.
        by_text.sort_by_key(ToString::to_string);
        assert_eq!(numbers, by_text);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "00", "+1", "-1", "1a", " 1", "0496", &format!("0{FIRST_NUMBER}"), &"1".repeat(130)] {
            assert!(matches!(parse(text), Err(SequenceNumberError::NotANumber(_))), "{text}");
        }
        for text in ["0", "1", &"1".repeat(56), &"9".repeat(56), &"9".repeat(58), &"9".repeat(129)] {
            assert!(matches!(parse(text), Err(SequenceNumberError::NeverGivenOut(_))), "{text}");
        }
        assert_eq!(
            parse("7").unwrap_err().to_string(),
            "`7` was never given out as a sequence number; take one from a record or a shard of this stream"
        );
    }

    #[test]
    fn every_fixed_bit_is_checked() {
        let number = SequenceNumber::new(CREATED, ShardIx(3), 77, CREATED);
        let limbs = number.limbs();
        let fixed = (0..4).chain(72..80).chain(143..148).chain(184..192);
        for bit in fixed {
            let mut changed = limbs;
            changed[2 - bit / 64] ^= 1 << (bit % 64);
            assert_eq!(SequenceNumber::from_limbs(changed), None, "bit {bit}");
        }
    }
}
