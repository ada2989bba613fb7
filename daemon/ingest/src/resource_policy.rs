//! The policy document of one stream or consumer, as PutResourcePolicy takes it, and what it says of a call. Elements that are not
//! understood are refused when the document is put, so none is ever passed over when it is asked.

use hydrant_config::{Pattern, Verdict};
use serde_json::{Map, Value};

/// A policy document whose every element is understood.
#[derive(Debug)]
pub(crate) struct ResourcePolicy(Vec<Statement>);

#[derive(Debug)]
struct Statement {
    denies: bool,
    principals: Named,
    actions: Named,
    resources: Named,
}

/// Any of these, or with `Not` in the element's name any other.
#[derive(Debug)]
struct Named {
    patterns: Vec<Pattern>,
    others: bool,
}

/// Who calls, as a policy may name it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Principal<'a> {
    pub(crate) account: &'a str,
    pub(crate) access_key_id: &'a str,
}

impl Principal<'_> {
    /// What IAM would call the owner of the access key.
    pub(crate) fn arn(&self) -> String {
        format!("arn:aws:iam::{}:user/{}", self.account, self.access_key_id)
    }
}

impl ResourcePolicy {
    /// The error says what is wrong with the document.
    pub(crate) fn parse(text: &str) -> Result<ResourcePolicy, String> {
        let document: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let document = document.as_object().ok_or("it is no JSON object")?;
        only(document, &["Version", "Id", "Statement"])?;
        match document.get("Version").map(Value::as_str) {
            None | Some(Some("2012-10-17" | "2008-10-17")) => {}
            _ => return Err("its Version must be 2012-10-17 or 2008-10-17".to_owned()),
        }
        let statements = match document.get("Statement") {
            Some(Value::Array(list)) if !list.is_empty() => list.as_slice(),
            Some(one @ Value::Object(_)) => std::slice::from_ref(one),
            _ => return Err("it needs a Statement".to_owned()),
        };
        statements.iter().map(Statement::parse).collect::<Result<_, _>>().map(ResourcePolicy)
    }

    /// Of `kinesis:Operation` on the ARN that the policy is attached to.
    pub(crate) fn verdict(&self, principal: Principal<'_>, action: &str, resource: &str) -> Verdict {
        let covers = |statement: &&Statement| statement.covers(principal, action, resource);
        let mut covering = self.0.iter().filter(covers).peekable();
        if covering.peek().is_none() {
            Verdict::NotAllowed
        } else if covering.any(|statement| statement.denies) {
            Verdict::Denied
        } else {
            Verdict::Allowed
        }
    }
}

impl Statement {
    fn parse(statement: &Value) -> Result<Statement, String> {
        let members = statement.as_object().ok_or("a statement is no JSON object")?;
        let known = ["Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource"];
        only(members, &known)?;
        let denies = match members.get("Effect").and_then(Value::as_str) {
            Some("Allow") => false,
            Some("Deny") => true,
            _ => return Err("a statement's Effect must be Allow or Deny".to_owned()),
        };
        let actions = Named::of(members, "Action", texts)?.ok_or("a statement needs either Action or NotAction")?;
        let principals =
            Named::of(members, "Principal", principals)?.ok_or("a statement needs either Principal or NotPrincipal")?;
        // The document is about what it is attached to.
        let everything = Named { patterns: vec![Pattern::new("*")], others: false };
        let resources = Named::of(members, "Resource", texts)?.unwrap_or(everything);
        Ok(Statement { denies, principals, actions, resources })
    }

    fn covers(&self, principal: Principal<'_>, action: &str, resource: &str) -> bool {
        let names = [principal.arn(), format!("arn:aws:iam::{}:root", principal.account), principal.account.to_owned()];
        self.principals.has(|pattern| names.iter().any(|name| pattern.matches(name)))
            && self.actions.has(|pattern| pattern.matches_ignoring_case(action))
            && self.resources.has(|pattern| pattern.matches(resource))
    }
}

impl Named {
    /// `None` if neither the element nor its opposite is there.
    fn of(
        members: &Map<String, Value>,
        name: &str,
        read: fn(&Value) -> Option<Vec<&str>>,
    ) -> Result<Option<Named>, String> {
        let (plain, not) = (members.get(name), members.get(&format!("Not{name}")));
        let (value, others) = match (plain, not) {
            (None, None) => return Ok(None),
            (Some(value), None) => (value, false),
            (None, Some(value)) => (value, true),
            (Some(_), Some(_)) => return Err(format!("a statement needs either {name} or Not{name}")),
        };
        let texts = read(value).filter(|texts| !texts.is_empty());
        let texts = texts.ok_or_else(|| format!("{name} must be a text or a list of texts, not empty"))?;
        let strange = |text: &&&str| **text != "*" && !text.to_ascii_lowercase().starts_with("kinesis:");
        match texts.iter().find(strange) {
            Some(text) if name == "Action" => {
                Err(format!("an action must be `*` or begin with `kinesis:`, got `{text}`"))
            }
            _ => Ok(Some(Named { patterns: texts.into_iter().map(Pattern::new).collect(), others })),
        }
    }

    fn has(&self, matches: impl Fn(&Pattern) -> bool) -> bool {
        self.patterns.iter().any(matches) != self.others
    }
}

/// Elements with a meaning that is not known must not be passed over.
fn only(members: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    let unknown = members.keys().find(|name| !known.contains(&name.as_str()));
    unknown.map_or(Ok(()), |name| Err(format!("its element {name} is not supported by this version of Hydrant")))
}

fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(list) => list.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// `"*"`, or `{"AWS": …}` of ARNs and account numbers.
fn principals(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) if text == "*" => Some(vec![text]),
        Value::Object(kinds) if kinds.len() == 1 => texts(kinds.get("AWS")?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RED: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/red";
    const ANN: Principal<'_> = Principal { account: "123456789012", access_key_id: "ANN" };

    fn verdict(statements: &Value, action: &str) -> Verdict {
        let policy = ResourcePolicy::parse(&json!({ "Statement": statements }).to_string()).unwrap();
        policy.verdict(ANN, action, RED)
    }

    #[test]
    fn a_denial_beats_a_permission_and_nothing_said_is_nothing() {
        let may_read = json!({ "Effect": "Allow", "Principal": "*", "Action": "kinesis:Get*", "Resource": RED });
        let not_ann = json!({
            "Effect": "Deny", "Principal": { "AWS": "arn:aws:iam::123456789012:user/ANN" }, "NotAction": "kinesis:Get*"
        });
        assert_eq!(verdict(&may_read, "kinesis:GetRecords"), Verdict::Allowed);
        assert_eq!(verdict(&may_read, "kinesis:PutRecord"), Verdict::NotAllowed);
        assert_eq!(verdict(&json!([may_read, not_ann]), "kinesis:GetRecords"), Verdict::Allowed);
        assert_eq!(verdict(&json!([may_read, not_ann]), "kinesis:PutRecord"), Verdict::Denied);
        for (principal, covered) in [
            (json!("*"), true),
            (json!({ "AWS": "123456789012" }), true),
            (json!({ "AWS": ["arn:aws:iam::123456789012:root"] }), true),
            (json!({ "AWS": "arn:aws:iam::*:user/A*" }), true),
            (json!({ "AWS": "210987654321" }), false),
            (json!({ "AWS": "arn:aws:iam::123456789012:user/BOB" }), false),
        ] {
            let allow = json!({ "Effect": "Allow", "Principal": principal, "Action": "*" });
            assert_eq!(verdict(&allow, "kinesis:PutRecord") == Verdict::Allowed, covered, "{principal}");
            let others = json!({ "Effect": "Allow", "NotPrincipal": principal, "Action": "*" });
            assert_eq!(verdict(&others, "kinesis:PutRecord") == Verdict::Allowed, !covered, "{principal}");
        }
        let elsewhere = json!({ "Effect": "Allow", "Principal": "*", "Action": "*", "NotResource": RED });
        assert_eq!(verdict(&elsewhere, "kinesis:PutRecord"), Verdict::NotAllowed);
    }

    #[test]
    fn only_what_is_understood_is_taken() {
        let good = json!({ "Effect": "Allow", "Principal": "*", "Action": ["kinesis:GetRecords"], "Resource": "*" });
        assert!(ResourcePolicy::parse(&json!({ "Version": "2012-10-17", "Statement": [good] }).to_string()).is_ok());
        for (member, value) in [
            ("Effect", json!("Maybe")),
            ("Action", json!([])),
            ("Action", json!("s3:GetObject")),
            ("Action", json!(7)),
            ("NotAction", json!("kinesis:*")),
            ("NotPrincipal", json!("*")),
            ("Principal", json!({ "Service": "lambda.amazonaws.com" })),
            ("Principal", json!("ANN")),
            ("Condition", json!({ "Bool": { "aws:SecureTransport": "true" } })),
        ] {
            let mut changed = good.clone();
            changed[member] = value.clone();
            let refused = ResourcePolicy::parse(&json!({ "Statement": [good, changed] }).to_string());
            assert!(refused.is_err(), "{member} {value}");
        }
        for wrong in ["", "[]", "{}", r#"{"Statement":[]}"#, r#"{"Version":"1","Statement":{}}"#, "{"] {
            assert!(ResourcePolicy::parse(wrong).is_err(), "{wrong}");
        }
    }
}
