//! What the fuzz targets call: hostile bytes into every decoder that reads before the signature is known to be good, and into the
//! one of what producers have put together. Each must return, and the ways to read the same bytes must agree.

use http::{HeaderValue, Request};
use hydrant_record::{HashKey, Timestamp, USER_RECORDS_MAX, user_records};
use serde::de::IgnoredAny;

use crate::wire::Wire;
use crate::{Auth, cbor, firehose, kinesis};

/// A body of JSON 1.1.
pub fn json(bytes: &[u8]) {
    let is_object = Wire::AmzJson.check_object(bytes).is_ok();
    if let Ok(value) = Wire::AmzJson.value(bytes) {
        assert_eq!(is_object, value.is_object(), "{value}");
        let _ = (firehose::mistyped(true, &value), firehose::mistyped(false, &value), kinesis::mistyped(&value));
    }
    for batch in [false, true] {
        if let Some(put) = firehose::Put::parse(batch, bytes) {
            let _ = put.name();
        }
    }
    let _ = kinesis::Put::parse(bytes, Wire::AmzJson).map(|put| put.validated());
}

/// A body of CBOR.
pub fn cbor(bytes: &[u8]) {
    let skipped = cbor::from_slice::<IgnoredAny>(bytes);
    let value = cbor::value(bytes);
    assert!(skipped.is_ok() || value.is_err(), "what is a value can be skipped");
    let is_object = cbor::check_object(bytes).is_ok();
    assert!(skipped.is_ok() || !is_object, "what is an object can be skipped");
    if let Ok(value) = value {
        assert_eq!(is_object, value.is_object(), "{value}");
        let _ = kinesis::mistyped(&value);
        if let Err(error) = cbor::value(&cbor::from_json(&value.to_string())) {
            // A time is a tag around a number.
            assert!(error.to_string().contains("too deep"), "what is written can be read: {error}");
        }
    }
    let _ = kinesis::Put::parse(bytes, Wire::Cbor).map(|put| put.validated());
}

/// The `Authorization` header, or the query when the first byte is even.
pub fn authorization(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let request = Request::post("/").header("host", "h").header("x-amz-date", "20240115T120000Z");
    let request = if first % 2 == 0 {
        let Ok(query) = std::str::from_utf8(rest) else { return };
        request.uri(format!("/?{query}"))
    } else {
        let Ok(header) = HeaderValue::from_bytes(rest) else { return };
        request.header("authorization", header)
    };
    let Ok(request) = request.body(()) else { return };
    let (head, ()) = request.into_parts();
    let noon = Timestamp::from_millis(1_705_320_000_000);
    let open = Auth::Open.verify(&head, b"{}", "firehose", noon);
    assert!(open.is_err() || Auth::claimed(&head).is_some(), "who is let in has a name");
    let credential = hydrant_config::Credential::new("AKIDEXAMPLE", hydrant_config::Secret::new("a secret"));
    let keys = Auth::Keys(crate::Keys::new(&[credential]));
    assert!(keys.verify(&head, b"{}", "firehose", noon).is_err(), "nobody guesses a signature");
}

/// The protobuf message of an aggregated record, whose magic number and digest are put around it here: nobody guesses an MD5.
pub fn aggregated(message: &[u8]) {
    assert!(user_records(message).is_none_or(|records| !records.is_empty()));
    // The hash of a partition key is an MD5, too.
    let digest = HashKey::of_partition_key(message).0.to_be_bytes();
    let record = [&[0xf3, 0x89, 0x9a, 0xc2], message, &digest[..]].concat();
    let Some(users) = user_records(&record) else { return };
    assert!((1..=USER_RECORDS_MAX).contains(&users.len()));
    let bytes: usize = users.iter().map(|user| user.data.len()).sum();
    assert!(bytes + users.len() * 6 <= message.len(), "each byte belongs to one record, and each record has a frame");
    assert!(users.iter().all(|user| record.as_ptr_range().contains(&user.data.as_ptr())), "nothing is copied");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What fuzzing has found worth keeping, and what it once tripped over.
    #[test]
    fn the_corpus_is_read() {
        let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
        for (name, target) in
            [("json", json as fn(&[u8])), ("cbor", cbor), ("authorization", authorization), ("aggregated", aggregated)]
        {
            let files: Vec<_> = std::fs::read_dir(corpus.join(name)).unwrap().collect();
            assert!(!files.is_empty(), "{name}");
            for file in files {
                target(&std::fs::read(file.unwrap().path()).unwrap());
            }
        }
    }
}
