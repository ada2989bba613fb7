//! Signature Version 4, the verifying side. Nothing is taken from a request before its signature is known to be good.
//!
//! The steps and texts follow AWS's "Signature Version 4 signing process" and what the Kinesis family answers.

mod canonical;
#[cfg(test)]
mod negatives;
mod parameters;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::{constant_time, hmac};
use chrono::DateTime;
use http::request::Parts;
use hydrant_config::{Credential, Policy, Secret};
use hydrant_record::Timestamp;

use crate::ApiError;
use parameters::Parameters;

/// Derived keys kept at once; one per (access key, date, region) in use.
const DERIVED_KEYS_MAX: usize = 256;
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. Check your AWS \
    Secret Access Key and signing method. Consult the service documentation for details.";

/// Who may call.
#[derive(Debug)]
pub enum Auth {
    /// No credentials are configured: any well-formed signature is accepted. For loopback only.
    Open,
    Keys(Keys),
}

/// The access keys that may call, and how far a clock may be off.
pub struct Keys {
    known: HashMap<String, Known>,
    skew_max: Duration,
    /// By what they are derived for, as the credential says it.
    derived: Mutex<HashMap<String, Arc<hmac::Key>>>,
}

/// What belongs to one access key id.
#[derive(Debug)]
struct Known {
    secret: Secret,
    session_token: Option<Secret>,
    policy: Arc<Policy>,
}

/// A caller whose signature was good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) access_key_id: String,
    /// The region of the credential scope: which region's streams the caller means.
    pub(crate) region: String,
    /// What it may do.
    pub(crate) policy: Arc<Policy>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("keys", &self.known.len()).field("skew_max", &self.skew_max).finish()
    }
}

impl Keys {
    /// The keys of the configuration, with AWS's tolerance of 15 minutes.
    #[must_use]
    pub fn new(credentials: &[Credential]) -> Keys {
        let known = |one: &Credential| {
            let Credential { access_key_id, secret_access_key, session_token, policy } = one.clone();
            let known = Known { secret: secret_access_key, session_token, policy: Arc::new(policy) };
            (access_key_id, known)
        };
        let known = credentials.iter().map(known).collect();
        Keys { known, skew_max: Duration::from_secs(15 * 60), derived: Mutex::default() }
    }

    /// The same with another tolerance for clocks, in whole minutes.
    #[must_use]
    pub fn with_skew(mut self, skew_max: Duration) -> Keys {
        self.skew_max = skew_max;
        self
    }
}

impl Auth {
    /// `None` is a configuration without a credentials section.
    #[must_use]
    pub fn from_config(credentials: Option<&[Credential]>) -> Auth {
        credentials.map_or(Auth::Open, |keys| Auth::Keys(Keys::new(keys)))
    }

    /// Who signed the request, for `service`.
    pub(crate) fn verify(&self, head: &Parts, body: &[u8], service: &str, now: Timestamp) -> Result<Caller, ApiError> {
        let query = canonical::decode_query(head.uri.query().unwrap_or_default());
        let parameters = Parameters::of(head, &query)?;
        parameters.check_scope(service)?;
        let policy = match self {
            Auth::Open => Arc::default(),
            Auth::Keys(keys) => keys.verify(&parameters, head, body, now)?,
        };
        Ok(Caller { access_key_id: parameters.access_key_id.into(), region: parameters.region.into(), policy })
    }

    /// Whose signature a request says it has, true or not.
    pub(crate) fn claimed(head: &Parts) -> Option<String> {
        let query = canonical::decode_query(head.uri.query().unwrap_or_default());
        Parameters::of(head, &query).ok().map(|parameters| parameters.access_key_id.to_owned())
    }
}

impl Keys {
    fn verify(
        &self,
        signed: &Parameters<'_>,
        head: &Parts,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Arc<Policy>, ApiError> {
        let known = self.known.get(signed.access_key_id).ok_or_else(ApiError::unrecognized_client)?;
        self.check_time(signed, now)?;
        let body_hash = canonical::sha256_hex(body);
        let text = signed.string_to_sign(&canonical::request_hash(head, signed, &body_hash));
        let derived = self.lock().get(signed.credential).cloned();
        let fresh = derived.is_none();
        let key = derived.unwrap_or_else(|| Arc::new(derive(known.secret.reveal(), signed)));
        let calculated = hmac::sign(&key, text.as_bytes());
        let same = constant_time::verify_slices_are_equal(calculated.as_ref(), &signed.signature).is_ok();
        if !same || canonical::body_hash_contradicts(head, &body_hash) {
            return Err(ApiError::invalid_signature(MISMATCH));
        }
        if fresh {
            self.remember(signed.credential, key);
        }
        // Last, so that only who has the secret learns anything of the token.
        let wanted = known.session_token.as_ref().map(|token| token.reveal().as_bytes());
        let same = match (wanted, signed.session_token) {
            (None, None) => true,
            (Some(wanted), Some(sent)) => constant_time::verify_slices_are_equal(wanted, sent).is_ok(),
            _ => false,
        };
        if same { Ok(Arc::clone(&known.policy)) } else { Err(ApiError::unrecognized_client()) }
    }

    /// Only keys that have verified a request are kept, so nobody without a secret can push others out.
    fn remember(&self, credential: &str, key: Arc<hmac::Key>) {
        let mut derived = self.lock();
        if derived.len() >= DERIVED_KEYS_MAX {
            derived.clear();
        }
        derived.insert(credential.to_owned(), key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<hmac::Key>>> {
        self.derived.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_time(&self, signed: &Parameters<'_>, now: Timestamp) -> Result<(), ApiError> {
        let seconds = i64::try_from(now.as_millis() / 1000).unwrap_or(i64::MAX);
        let skew = i64::try_from(self.skew_max.as_secs()).unwrap_or(i64::MAX);
        let at = |seconds: i64| {
            DateTime::from_timestamp(seconds, 0).unwrap_or_default().format("%Y%m%dT%H%M%SZ").to_string()
        };
        let (sent, minutes) = (&signed.timestamp, skew / 60);
        let oldest = seconds - skew;
        // A presigned request is good until it expires; a signed one for as long as clocks may differ.
        let expired = signed.expires.map_or(signed.seconds < oldest, |expires| signed.seconds + expires < seconds);
        if expired {
            return Err(ApiError::invalid_signature(format!(
                "Signature expired: {sent} is now earlier than {} ({} - {minutes} min.)",
                at(oldest),
                at(seconds)
            )));
        }
        if signed.seconds > seconds + skew {
            return Err(ApiError::invalid_signature(format!(
                "Signature not yet current: {sent} is still later than {} ({} + {minutes} min.)",
                at(seconds + skew),
                at(seconds)
            )));
        }
        Ok(())
    }
}

fn derive(secret: &str, signed: &Parameters<'_>) -> hmac::Key {
    let first = format!("AWS4{secret}");
    let step = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let date = step(first.as_bytes(), signed.date);
    let region = step(date.as_ref(), signed.region);
    let service = step(region.as_ref(), signed.service);
    hmac::Key::new(hmac::HMAC_SHA256, step(service.as_ref(), "aws4_request").as_ref())
}
