//! Numbers as their decimal text, exactly. Nothing here goes through floating point, so what fits a column fits it
//! without a digit lost.

/// `± digits × 10^exponent`; `digits` has no trailing zero, and zero has exponent 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exact {
    negative: bool,
    digits: u128,
    exponent: i64,
}

/// Why a text is not an [`Exact`], or an [`Exact`] not an integer of some unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NumberFault {
    NotANumber,
    Fraction,
    OutOfRange,
}

impl Exact {
    /// The grammar of a JSON number, and leading zeros, which strings such as `"08"` have.
    pub(crate) fn parse(text: &str) -> Result<Exact, NumberFault> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (number, power) = match rest.find(['e', 'E']) {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        let (whole, fraction) = match number.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (number, None),
        };
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(whole) || !fraction.is_none_or(all_digits) {
            return Err(NumberFault::NotANumber);
        }
        let power = power.map_or(Ok(0), parse_power)?;
        let fraction = fraction.unwrap_or("");
        let mut digits = 0u128;
        // Zeros count only once another digit follows, so `1.000…0` needs no more room than `1`.
        let mut zeros = 0u32;
        for digit in whole.bytes().chain(fraction.bytes()).map(|byte| u128::from(byte - b'0')) {
            if digit == 0 {
                zeros = zeros.saturating_add(1);
            } else {
                digits = shifted(digits, zeros.saturating_add(1))
                    .and_then(|shifted| shifted.checked_add(digit))
                    .ok_or(NumberFault::OutOfRange)?;
                zeros = 0;
            }
        }
        if digits == 0 {
            return Ok(Exact { negative: false, digits: 0, exponent: 0 });
        }
        let places = i64::try_from(fraction.len()).map_err(|_| NumberFault::OutOfRange)?;
        Ok(Exact { negative, digits, exponent: power - places + i64::from(zeros) })
    }

    /// The number in units of `10^-scale`, if it is a whole number of them.
    pub(crate) fn scaled(self, scale: i64) -> Result<i128, NumberFault> {
        if self.digits != 0 && self.exponent + scale < 0 {
            return Err(NumberFault::Fraction);
        }
        self.floored(scale)
    }

    /// The number in units of `10^-scale`, rounded down.
    pub(crate) fn floored(self, scale: i64) -> Result<i128, NumberFault> {
        let shift = self.exponent + scale;
        let places = u32::try_from(shift.unsigned_abs()).unwrap_or(u32::MAX);
        let magnitude = if shift >= 0 {
            shifted(self.digits, places).ok_or(NumberFault::OutOfRange)?
        } else {
            let divisor = 10u128.checked_pow(places).unwrap_or(u128::MAX);
            if self.negative { self.digits.div_ceil(divisor) } else { self.digits / divisor }
        };
        let magnitude = i128::try_from(magnitude).map_err(|_| NumberFault::OutOfRange)?;
        Ok(if self.negative { -magnitude } else { magnitude })
    }
}

/// `text` as a whole number. The common case, plain digits, takes the short way.
pub(crate) fn parse_integer(text: &str) -> Result<i64, NumberFault> {
    if !text.starts_with('+')
        && let Ok(value) = text.parse::<i64>()
    {
        return Ok(value);
    }
    i64::try_from(Exact::parse(text)?.scaled(0)?).map_err(|_| NumberFault::OutOfRange)
}

fn shifted(digits: u128, places: u32) -> Option<u128> {
    if digits == 0 { Some(0) } else { digits.checked_mul(10u128.checked_pow(places)?) }
}

fn parse_power(text: &str) -> Result<i64, NumberFault> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NumberFault::NotANumber);
    }
    // Beyond this every number but zero is out of every range; the bound keeps later sums from overflowing.
    let power = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000_000);
    Ok(if negative { -power } else { power })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_exact() {
        let cases = [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("42", Ok(42)),
            ("-42", Ok(-42)),
            ("007", Ok(7)),
            ("1.0", Ok(1)),
            ("1e3", Ok(1000)),
            ("1.5E+1", Ok(15)),
            ("120e-1", Ok(12)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err(NumberFault::OutOfRange)),
            ("0e999999999999999999999", Ok(0)),
            ("1e999999999999999999999", Err(NumberFault::OutOfRange)),
            ("1e-999999999999999999999", Err(NumberFault::Fraction)),
            ("1.5", Err(NumberFault::Fraction)),
            ("+5", Err(NumberFault::NotANumber)),
            ("", Err(NumberFault::NotANumber)),
            ("-", Err(NumberFault::NotANumber)),
            (".5", Err(NumberFault::NotANumber)),
            ("5.", Err(NumberFault::NotANumber)),
            ("1e", Err(NumberFault::NotANumber)),
            (" 1", Err(NumberFault::NotANumber)),
            ("1_000", Err(NumberFault::NotANumber)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_integer(text), expected, "{text:?}");
        }
    }

    #[test]
    fn scaling_keeps_every_digit() {
        let number = Exact::parse("-12.345").unwrap();
        assert_eq!(number.scaled(3), Ok(-12_345));
        assert_eq!(number.scaled(5), Ok(-1_234_500));
        assert_eq!(number.scaled(2), Err(NumberFault::Fraction));
        assert_eq!(number.floored(2), Ok(-1_235));
        assert_eq!(Exact::parse("12.345").unwrap().floored(2), Ok(1_234));
        assert_eq!(Exact::parse("1200").unwrap().scaled(-2), Ok(12));
        let long = "99999999999999999999999999999999999999";
        assert_eq!(Exact::parse(long).unwrap().scaled(0), Ok(10i128.pow(38) - 1));
        assert_eq!(Exact::parse(&format!("1.{}", "0".repeat(500))).unwrap().scaled(0), Ok(1));
        assert_eq!(Exact::parse(&format!("{long}99")), Err(NumberFault::OutOfRange));
    }
}
