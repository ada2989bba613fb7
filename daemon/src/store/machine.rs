//! Which machine this is.

use std::io;
use std::path::Path;

use aws_lc_rs::hmac;

use crate::exit::{Exit, Failure};

/// Where an installed system keeps its id; see machine-id(5).
const PLACES: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
/// Is there while the id is drawn anew at every boot, on a system that cannot keep one.
const TRANSIENT: &str = "/run/machine-id";

/// A machine, for as long as its operating system stays installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// `None` where there is no lasting id, as in most containers: then machines are not told apart.
    pub(super) id: Option<String>,
}

impl Machine {
    /// The one that this process runs on.
    pub(crate) fn this() -> Result<Machine, Failure> {
        if Path::new(TRANSIENT).exists() {
            return Ok(Machine { id: None });
        }
        for place in PLACES {
            match std::fs::read_to_string(place) {
                Ok(text) if is_id(text.trim()) => return Ok(Machine { id: Some(digest(text.trim())) }),
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::new(Exit::Config, format!("cannot read `{place}`: {error}")).hint(
                        "let the daemon's user read it: it tells whether the data directory came from another machine",
                    ));
                }
                _ => {}
            }
        }
        Ok(Machine { id: None })
    }
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// A digest of our own, because machine-id(5) asks that the id itself be kept from spreading.
fn digest(id: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, id.as_bytes());
    hex::encode(&hmac::sign(&key, b"hydrant data directory").as_ref()[..16])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_is_not_taken_for_one() {
        for text in ["", "uninitialized", "3d1219c7c4c5404aaa1f6d2a48adfda", "zd1219c7c4c5404aaa1f6d2a48adfda4"] {
            assert!(!is_id(text), "{text}");
        }
        assert!(is_id("3d1219c7c4c5404aaa1f6d2a48adfda4"));
        assert_ne!(digest("3d1219c7c4c5404aaa1f6d2a48adfda4"), "3d1219c7c4c5404aaa1f6d2a48adfda4");
    }
}
