//! Partition keys by jq, compiled once.

/// A compiled query that gives named keys: one jq object constructor, as Firehose takes it, or one path a key, as YAML has it.
#[derive(Clone, Debug)]
pub struct JqKeys {
    _private: (),
}

/// The text is no jq, or gives no object of keys; or a record does not give the keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JqError(pub String);

impl JqKeys {
    /// Firehose's `MetadataExtractionQuery`: `{customer_id:.customer_id,year:.ts|strftime("%Y")}`.
    pub fn from_query(_text: &str) -> Result<JqKeys, JqError> {
        unreachable!()
    }

    /// YAML's `jq: { customer: .customer_id }`: key and filter each.
    pub fn from_filters(_filters: &[(String, String)]) -> Result<JqKeys, JqError> {
        unreachable!()
    }

    /// Names of the keys, known without a record.
    #[must_use]
    pub fn names(&self) -> &[String] {
        unreachable!()
    }

    /// The values for one JSON record, in the order of `names`. Null, empty, missing and non-scalar values are errors, as at AWS.
    pub fn evaluate(&self, _record: &[u8]) -> Result<Vec<String>, JqError> {
        unreachable!()
    }
}
