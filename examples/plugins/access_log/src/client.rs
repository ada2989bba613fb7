//! Whose request it was, made coarse enough not to be one person.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::settings::Mask;

/// `None`: the client is a host name, which cannot be masked in part.
#[must_use]
pub fn masked(client: &str, mask: Mask) -> Option<String> {
    if mask == Mask::None {
        return Some(client.to_owned());
    }
    match client.parse::<IpAddr>().ok()?.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            Some(Ipv4Addr::new(a, b, c, 0).to_string())
        }
        IpAddr::V6(address) => {
            let [a, b, c, ..] = address.segments();
            Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_not_found_by_what_is_left() {
        for (client, left) in [
            ("83.149.9.216", Some("83.149.9.0")),
            ("2001:db8:1:2:3:4:5:6", Some("2001:db8:1::")),
            ("::ffff:83.149.9.216", Some("83.149.9.0")),
            ("alice.example.net", None),
        ] {
            assert_eq!(masked(client, Mask::Ip).as_deref(), left, "{client}");
        }
        assert_eq!(masked("83.149.9.216", Mask::None).as_deref(), Some("83.149.9.216"));
    }
}
