//! Host names and `host:port`.
//!
//! No message shows the text: somebody may have put a URL with a password there.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::env::digits;
use super::fields::PORT;
use super::invalid;
use crate::error::Result;

pub(super) const DEFAULT_HOST: &str = "localhost";
pub(super) const DEFAULT_PORT: u16 = 6379;
pub(super) const DEFAULT_SENTINEL_PORT: u16 = 26379;

/// `host:port`, IPv6 in brackets.
pub(super) fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Several of them.
pub(super) fn join_all(nodes: &[(String, u16)]) -> String {
    let nodes: Vec<String> = nodes.iter().map(|(host, port)| join(host, *port)).collect();
    nodes.join(", ")
}

/// A name, an IPv4 or an IPv6 address (with or without brackets), in lower case and without brackets.
/// `name` is the option or variable.
pub(super) fn check(name: &str, text: &str) -> Result<String> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let host = bare.to_ascii_lowercase();
    if text.contains("://") {
        return Err(invalid(format!("{name} must be a host name, not a URL")));
    }
    if host.contains(':') || bare.len() != text.len() {
        // A zone (`fe80::1%eth0`) belongs to the system, not to the address.
        let (address, zone) = host.split_once('%').unwrap_or((&host, "0"));
        let zone_is_fine = !zone.is_empty() && zone.bytes().all(is_name_byte);
        return match address.parse::<Ipv6Addr>() {
            Ok(address) if address.is_unspecified() => Err(wildcard(name)),
            Ok(_) if zone_is_fine => Ok(host),
            Ok(_) | Err(_) => {
                Err(invalid(format!("{name} must be a host name or an IP address, without a port")))
            }
        };
    }
    if host.is_empty() || host.len() > 255 || !host.bytes().all(is_name_byte) {
        return Err(invalid(format!(
            "{name} must be a host name or an IP address: letters, digits, dot, hyphen, underscore"
        )));
    }
    match host.parse::<Ipv4Addr>() {
        Ok(address) if address.is_unspecified() => Err(wildcard(name)),
        Ok(_) | Err(_) => Ok(host),
    }
}

/// The underscore is no letter of DNS, but of the names that Docker gives.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

/// Some systems connect to the local host there, others to nothing.
fn wildcard(name: &str) -> crate::error::Error {
    invalid(format!(
        "{name} is a wildcard address, which a server listens on; to connect, use 127.0.0.1 or ::1"
    ))
}

/// One node of a list: `host`, `host:port`, `[v6]`, `[v6]:port`, each also after `redis://`.
pub(super) fn node(name: &str, text: &str, default_port: u16) -> Result<(String, u16)> {
    let text = text.trim();
    let scheme = text.find("://").map(|end| text.split_at(end + 3));
    let rest = match scheme {
        None => text,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("redis://") => rest,
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("rediss://") => {
            return Err(invalid(format!(
                "{name}: TLS is asked for with tls: true or REDIS_TLS=true, not rediss://"
            )));
        }
        Some(_) => return Err(invalid(format!("{name}: each node must be host:port"))),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('@') {
        return Err(invalid(format!(
            "{name}: each node must be host:port; user name and password stand apart"
        )));
    }
    let part = format!("a node of {name}");
    let has_port = if rest.starts_with('[') { !rest.ends_with(']') } else { rest.matches(':').count() == 1 };
    if !has_port {
        return Ok((check(&part, rest)?, default_port));
    }
    let (host, port) = rest.rsplit_once(':').unwrap_or((rest, ""));
    let port = digits(port).filter(|port| PORT.has(*port)).and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| invalid(format!("{name}: the port of each node must be {PORT}")))?;
    Ok((check(&part, host)?, port))
}
