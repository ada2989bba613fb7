//! The budget of work that a filter runs on, and the filters that spend it.
//!
//! [`super::guard`] puts [`CHARGE`] and [`TICK`] wherever a filter makes or multiplies values. An empty budget ends the filter
//! by jaq's `halt`, which no `try` or `?` of the filter can catch.

use std::cell::Cell;

use jaq_core::box_iter::box_once;
use jaq_core::data::{DataT, HasLut};
use jaq_core::native::{Fun, bome, v};
use jaq_core::{Ctx, Cv, Error, Exn, Lut, Native, ValXs, Vars};
use jaq_json::{Num, Val};

use super::json;

/// Spends the size of its input, and gives it on.
pub(super) const CHARGE: &str = "hydrant charge";
/// Spends one unit, and gives its input on.
pub(super) const TICK: &str = "hydrant tick";
/// `l * r`, which could make any string from a number.
pub(super) const TIMES: &str = "hydrant times";
/// `fromjson` of bounded text.
const FROM_JSON: &str = "fromjson";

const UNITS_MIN: u64 = 1_000_000;
const UNITS_PER_BYTE: u64 = 64;
/// Filters may nest values deeper than records do, but not without end: to drop them recurses.
const DEPTH_MAX: usize = 512;
/// jq 1.6 has no larger numbers than doubles; a product of two such is quick.
const BIG_INT_BITS_MAX: u64 = 4_096;
const EMPTY: i32 = 1;

pub(super) type Filter = jaq_core::Filter<Budgeted>;

/// jaq's values, with a budget beside them.
pub(super) struct Budgeted;

#[derive(Clone, Copy)]
pub(super) struct Run<'a> {
    lut: &'a Lut<Budgeted>,
    units: &'a Cell<u64>,
}

impl DataT for Budgeted {
    type V<'a> = Val;
    type Data<'a> = Run<'a>;
}

impl<'a> HasLut<'a, Budgeted> for Run<'a> {
    fn lut(&self) -> &'a Lut<Budgeted> {
        self.lut
    }
}

/// The filter's first output, if there is one.
pub(super) fn first_output(filter: &Filter, record: Val, record_bytes: usize) -> Result<Option<Val>, String> {
    let units = Cell::new(UNITS_MIN + UNITS_PER_BYTE * record_bytes as u64);
    let run = Run { lut: &filter.lut, units: &units };
    let first = filter.id.run((Ctx::<Budgeted>::new(run, Vars::new([])), record)).next();
    first.transpose().map_err(|exception| match exception.get_err() {
        Ok(error) => error.to_string(),
        Err(_) => "the filter does more than its budget allows for a record of this size, make it simpler".into(),
    })
}

/// What filters may call beside what is defined in jq itself.
pub(super) fn functions() -> impl Iterator<Item = Fun<Budgeted>> {
    let own: [Fun<Budgeted>; 4] = [
        (CHARGE, v(0), charge()),
        (TICK, v(0), tick()),
        (TIMES, v(2), Native::<Budgeted>::new(|cv| times(cv))),
        (FROM_JSON, v(0), Native::<Budgeted>::new(|cv| from_json(&cv))),
    ];
    let foreign = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    own.into_iter().chain(foreign.filter(|(name, ..)| *name != FROM_JSON))
}

/// A filter that spends and gives its input on, in paths and updates too.
macro_rules! passing {
    ($cost:expr) => {
        Native::<Budgeted>::new(|(ctx, value)| box_once(spend(&ctx, $cost(&value)).map(|()| plain(value))))
            .with_paths(|(ctx, value)| box_once(spend(&ctx, $cost(&value.0)).map(|()| value)))
            .with_update(|(ctx, value), update| match spend(&ctx, $cost(&value)) {
                Ok(()) => update(value),
                Err(empty) => box_once(Err(empty)),
            })
    };
}

fn charge() -> Native<Budgeted> {
    passing!(|value: &Val| size(value, 0))
}

fn tick() -> Native<Budgeted> {
    passing!(|_: &Val| Some(1))
}

/// `None` is more than any budget has.
fn spend<'a>(ctx: &Ctx<'a, Budgeted>, cost: Option<u64>) -> Result<(), Exn<'a, Val>> {
    let units = ctx.data().units;
    let left = cost.and_then(|cost| units.get().checked_sub(cost));
    units.set(left.unwrap_or(0));
    left.map(|_| ()).ok_or_else(|| Exn::halt(EMPTY))
}

/// Values in it, and bytes of its strings; shared parts count each time.
fn size(value: &Val, depth: usize) -> Option<u64> {
    if depth > DEPTH_MAX {
        return None;
    }
    let parts = match value {
        Val::TStr(text) | Val::BStr(text) => text.len() as u64,
        Val::Num(Num::BigInt(number)) => number.bits() / 8,
        Val::Num(Num::Dec(text)) => text.len() as u64,
        Val::Arr(values) => sum(values.iter().map(|value| size(value, depth + 1)))?,
        Val::Obj(members) => {
            sum(members.iter().flat_map(|(name, value)| [size(name, depth + 1), size(value, depth + 1)]))?
        }
        _ => 0,
    };
    parts.checked_add(1)
}

/// Stops where it exceeds every budget, for shared parts can make a small value look endless.
fn sum(mut sizes: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    const ENOUGH: u64 = 1 << 34;
    sizes.try_fold(0_u64, |sum, size| sum.checked_add(size?).filter(|&sum| sum < ENOUGH))
}

/// jq has no integers beside its doubles: 3.0 is 3 to it.
fn plain(value: Val) -> Val {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        #[expect(clippy::cast_possible_truncation, reason = "integral and less than 2^53")]
        Val::Num(Num::Float(number)) if number.fract() == 0.0 && number.abs() < EXACT => {
            Val::Num(Num::Int(number as isize))
        }
        value => value,
    }
}

fn times(mut cv: Cv<'_, Budgeted>) -> ValXs<'_, Val> {
    let right = cv.0.pop_var();
    let left = cv.0.pop_var();
    let bits = |value: &Val| if let Val::Num(Num::BigInt(number)) = value { number.bits() } else { 0 };
    let copies = match (&left, &right) {
        (Val::TStr(text) | Val::BStr(text), Val::Num(times)) | (Val::Num(times), Val::TStr(text) | Val::BStr(text)) => {
            let times = times.as_isize().map_or(u64::MAX, |times| u64::try_from(times).unwrap_or(0));
            (text.len() as u64).checked_mul(times)
        }
        _ if bits(&left) + bits(&right) > BIG_INT_BITS_MAX => None,
        _ => Some(0),
    };
    match spend(&cv.0, copies) {
        Ok(()) => bome(left * right),
        Err(empty) => box_once(Err(empty)),
    }
}

fn from_json<'a>(cv: &Cv<'a, Budgeted>) -> ValXs<'a, Val> {
    let parsed = match &cv.1 {
        Val::TStr(text) => json::bounded(text).and_then(json::value),
        _ => None,
    };
    bome(parsed.ok_or_else(|| Error::str(format_args!("got text that is not one JSON value"))))
}
