//! What a filter may not hold, and where it spends its budget.
//!
//! After [`guarded`] every place that makes a value, or gives more than one output, spends; so the outputs of any filter, and the
//! memory it holds, are bounded by the budget and not by what the record says.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::ops::Math;
use jaq_core::path::{Part, Path};

use super::JqError;
use super::budget::{CHARGE, TICK, TIMES};

/// jaq recurses along a filter's text.
const DEPTH_MAX: usize = 100;
/// No filter can name this one.
const RIGHT: &str = "$hydrant right";

const OUTSIDE: &str = "a key may depend on the record alone";
const ENDLESS: &str = "it need not end";

type Guarded<'s> = Result<Term<&'s str>, JqError>;

pub(super) fn guarded(term: Term<&str>) -> Guarded<'_> {
    term_at(0, term)
}

fn term_at(depth: usize, term: Term<&str>) -> Guarded<'_> {
    if depth > DEPTH_MAX {
        return Err(JqError(format!("the filter nests deeper than {DEPTH_MAX}, make it simpler")));
    }
    let inner = |term| term_at(depth + 1, term);
    let boxed = |term: Box<_>| inner(*term).map(Box::new);
    Ok(match term {
        Term::Id | Term::Num(_) | Term::Break(_) | Term::Arr(None) => term,
        Term::Var(name) => Term::Var(variable(name)?),
        Term::Recurse => spending(Term::Recurse, CHARGE),
        Term::Str(format, parts) => text(format, parts, inner)?,
        Term::Arr(Some(items)) => spending(Term::Arr(Some(Box::new(spending(inner(*items)?, CHARGE)))), CHARGE),
        Term::Obj(members) => {
            let member = |(key, value): (_, Option<_>)| Ok((inner(key)?, value.map(inner).transpose()?));
            spending(Term::Obj(members.into_iter().map(member).collect::<Result<_, JqError>>()?), CHARGE)
        }
        Term::Neg(term) => Term::Neg(boxed(term)?),
        Term::BinOp(left, op, right) => binary(*left, op, *right, inner)?,
        Term::Label(name, term) => Term::Label(name, boxed(term)?),
        Term::Fold(name, over, pattern, terms) => {
            let terms = terms.into_iter().map(inner).collect::<Result<_, _>>()?;
            Term::Fold(name, boxed(over)?, self::pattern(pattern, &inner)?, terms)
        }
        Term::TryCatch(term, catch) => Term::TryCatch(boxed(term)?, catch.map(boxed).transpose()?),
        Term::IfThenElse(branches, otherwise) => {
            let branch = |(when, then)| Ok((inner(when)?, inner(then)?));
            let branches = branches.into_iter().map(branch).collect::<Result<_, JqError>>()?;
            Term::IfThenElse(branches, otherwise.map(boxed).transpose()?)
        }
        Term::Def(..) => return Err(refused("def", ENDLESS)),
        Term::Call(name, arguments) => {
            callable(name, arguments.len())?;
            let arguments = arguments.into_iter().map(inner).collect::<Result<_, _>>()?;
            piped(call(CHARGE), spending(Term::Call(name, arguments), CHARGE))
        }
        Term::Path(from, path) => self::path(*from, path, inner)?,
    })
}

fn text<'s>(
    format: Option<&'s str>,
    parts: Vec<StrPart<&'s str, Term<&'s str>>>,
    inner: impl Fn(Term<&'s str>) -> Guarded<'s>,
) -> Guarded<'s> {
    let constant = format.is_none() && !parts.iter().any(|part| matches!(part, StrPart::Term(_)));
    let part = |part| match part {
        StrPart::Term(term) => inner(term).map(|term| StrPart::Term(spending(term, CHARGE))),
        part => Ok(part),
    };
    let text = Term::Str(format, parts.into_iter().map(part).collect::<Result<_, _>>()?);
    Ok(if constant { text } else { piped(call(CHARGE), spending(text, CHARGE)) })
}

fn binary<'s>(
    left: Term<&'s str>,
    op: BinaryOp<&'s str>,
    right: Term<&'s str>,
    inner: impl Fn(Term<&'s str>) -> Guarded<'s>,
) -> Guarded<'s> {
    let update = match op {
        BinaryOp::UpdateMath(math) => Some(BinaryOp::Math(math)),
        BinaryOp::UpdateAlt => Some(BinaryOp::Alt),
        _ => None,
    };
    if let Some(op) = update {
        // `l += r` is `r as $right | l |= . + $right`, where each sum spends.
        let changed = join(Term::Id, op, Term::Var(RIGHT));
        let updated = join(left, BinaryOp::Update, changed);
        return inner(join(right, BinaryOp::Pipe(Some(Pattern::Var(RIGHT))), updated));
    }
    let left = inner(left)?;
    let right = inner(right)?;
    Ok(match op {
        BinaryOp::Pipe(Some(pattern)) => join(left, BinaryOp::Pipe(Some(self::pattern(pattern, &inner)?)), right),
        BinaryOp::Math(Math::Mul) => spending(Term::Call(TIMES, vec![left, right]), CHARGE),
        BinaryOp::Cmp(_) => join(left, op, spending(right, CHARGE)),
        BinaryOp::Comma => spending(join(left, op, right), TICK),
        BinaryOp::Pipe(None) | BinaryOp::Alt | BinaryOp::Or | BinaryOp::And => join(left, op, right),
        _ => spending(join(left, op, right), CHARGE),
    })
}

fn path<'s>(
    from: Term<&'s str>,
    path: Path<Term<&'s str>>,
    inner: impl Fn(Term<&'s str>) -> Guarded<'s>,
) -> Guarded<'s> {
    let simple = path.0.iter().all(|(part, _)| matches!(part, Part::Index(Term::Str(..) | Term::Num(_))));
    let part = |part| {
        Ok::<_, JqError>(match part {
            Part::Index(index) => Part::Index(inner(index)?),
            Part::Range(from, until) => Part::Range(from.map(&inner).transpose()?, until.map(&inner).transpose()?),
        })
    };
    let parts = path.0.into_iter().map(|(p, opt)| Ok((part(p)?, opt))).collect::<Result<_, JqError>>()?;
    let from = inner(from)?;
    Ok(if simple {
        Term::Path(Box::new(from), Path(parts))
    } else {
        // `.[]` may copy what it walks, and gives many outputs.
        spending(Term::Path(Box::new(spending(from, CHARGE)), Path(parts)), CHARGE)
    })
}

fn pattern<'s>(
    pattern: Pattern<&'s str>,
    inner: &impl Fn(Term<&'s str>) -> Guarded<'s>,
) -> Result<Pattern<&'s str>, JqError> {
    Ok(match pattern {
        Pattern::Var(name) => Pattern::Var(name),
        Pattern::Arr(items) => {
            Pattern::Arr(items.into_iter().map(|item| self::pattern(item, inner)).collect::<Result<_, _>>()?)
        }
        Pattern::Obj(members) => {
            let member = |(key, value)| Ok((inner(key)?, self::pattern(value, inner)?));
            Pattern::Obj(members.into_iter().map(member).collect::<Result<_, JqError>>()?)
        }
    })
}

fn variable(name: &str) -> Result<&str, JqError> {
    match name {
        "$ENV" | "$__loc__" | "$__prog_args" => Err(refused(name, OUTSIDE)),
        _ => Ok(name),
    }
}

fn callable(name: &str, arguments: usize) -> Result<(), JqError> {
    match (name, arguments) {
        ("recurse", 1..) | ("repeat" | "while" | "until", _) => Err(refused(name, ENDLESS)),
        ("combinations" | "transpose", _) => Err(refused(name, "its output grows with powers of its input")),
        (
            "input" | "inputs" | "debug" | "stderr" | "input_filename" | "input_line_number" | "halt" | "halt_error"
            | "env" | "now" | "localtime" | "strflocaltime" | "get_search_list" | "modulemeta" | "debug_empty"
            | "stderr_empty",
            _,
        ) => Err(refused(name, OUTSIDE)),
        _ => Ok(()),
    }
}

fn refused(name: &str, reason: &str) -> JqError {
    JqError(format!("got `{name}`, which is not allowed here: {reason}"))
}

/// `term | spend`.
fn spending<'s>(term: Term<&'s str>, spend: &'static str) -> Term<&'s str> {
    piped(term, call(spend))
}

fn piped<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    join(left, BinaryOp::Pipe(None), right)
}

fn join<'s>(left: Term<&'s str>, op: BinaryOp<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(Box::new(left), op, Box::new(right))
}

fn call<'s>(name: &'static str) -> Term<&'s str> {
    Term::Call(name, Vec::new())
}
