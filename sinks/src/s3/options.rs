//! What the configuration has the store told about every object, by AWS's header names.

use http::{HeaderMap, HeaderValue};
use hydrant_config::{S3Options, ServerSideEncryption};
use url::form_urlencoded;

use super::value;
use crate::SinkError;

pub(super) fn headers(options: &S3Options) -> Result<HeaderMap, SinkError> {
    let mut headers = HeaderMap::new();
    match &options.encryption {
        None => {}
        Some(ServerSideEncryption::Aes256) => {
            headers.insert("x-amz-server-side-encryption", HeaderValue::from_static("AES256"));
        }
        Some(ServerSideEncryption::Kms { key_id }) => {
            headers.insert("x-amz-server-side-encryption", HeaderValue::from_static("aws:kms"));
            if let Some(key_id) = key_id {
                let name = "x-amz-server-side-encryption-aws-kms-key-id";
                headers.insert(name, value(name, key_id)?);
            }
        }
    }
    if let Some(class) = &options.storage_class {
        headers.insert("x-amz-storage-class", value("x-amz-storage-class", class)?);
    }
    if let Some(acl) = options.acl {
        headers.insert("x-amz-acl", HeaderValue::from_static(acl));
    }
    if !options.tags.is_empty() {
        let tags = form_urlencoded::Serializer::new(String::new()).extend_pairs(&options.tags).finish();
        headers.insert("x-amz-tagging", value("x-amz-tagging", &tags)?);
    }
    Ok(headers)
}
