//! URL forms.
//!
//! | form | meaning |
//! |---|---|
//! | `redis://[user[:password]@]host[:port][/db]`, `valkey://…` | one server |
//! | `rediss://…`, `valkeys://…` | the same with TLS; `#insecure` accepts any certificate |
//! | `redis+unix:///path`, `valkey+unix://`, `unix://` | a socket file; credentials as `?user=…&pass=…` |
//! | `memory:`, `disabled` | the embedded store; nothing at all |
//!
//! Parameters: `?db=n`, and `tls` or `ssl` as a switch. `protocol` may only be 2. All others are left to the other
//! clients that share the URL. User name and password are percent-decoded; a `%` without two digits behind it stands
//! for itself, and `+` too.
//!
//! The `url` crate reads them and not the `redis` crate, which is mute about `rediss://` without its TLS feature,
//! ignores `?db=` of a TCP address, takes database -1 and port 0, and would connect to the host `user` for
//! `redis://user:12?rest@host`, where the password has a raw `?`.

use std::net::IpAddr;
use std::path::PathBuf;

use ::url::Url;

use super::env::{boolean, digits};
use super::fields::{DB, PORT};
use super::resolve::{Db, Login};
use super::secret::Secret;
use super::tls::{Details, Wish};
use super::{Target, host, invalid};
use crate::error::{Error, Result};

/// What a URL says. `name` is the option or variable it came from.
pub(super) fn parse(name: &str, text: &str) -> Result<(Target, Login)> {
    let text = text.trim();
    match text.to_ascii_lowercase().as_str() {
        "memory" | "memory:" | "memory://" => return Ok((Target::Memory, Login::default())),
        "disabled" | "disabled:" | "disabled://" => return Ok((Target::Disabled, Login::default())),
        _ => {}
    }
    let url = read(name, text)?;
    let mut login = Login { username: decode(name, url.username())?, ..Login::default() };
    login.password = url.password().map(|raw| decode(name, raw)).transpose()?.flatten().map(Secret::new);
    let target = match url.scheme() {
        "redis" | "valkey" => tcp(name, &url)?,
        "rediss" | "valkeys" => {
            login.tls = Some(encrypted(name, &url)?);
            tcp(name, &url)?
        }
        "redis+unix" | "valkey+unix" | "unix" => unix(name, &url)?,
        "http" | "https" => {
            return Err(invalid(format!(
                "{name} is an HTTP address; Upstash's goes into upstash.url or UPSTASH_REDIS_REST_URL"
            )));
        }
        _ => {
            return Err(invalid(format!(
                "{name} must begin with redis://, rediss://, valkey://, valkeys://, redis+unix:// or unix://, or be \
                 memory: or disabled"
            )));
        }
    };
    if url.fragment().is_some() && login.tls.is_none() {
        return Err(escape(name, "it has a # in an unexpected place"));
    }
    if let Target::Tcp { .. } = target {
        let path = url.path();
        let path = path.strip_prefix('/').unwrap_or(path);
        set_db(name, &mut login, path.strip_suffix('/').unwrap_or(path))?;
    }
    parameters(name, &url, &target, &mut login)?;
    Ok((target, login))
}

/// The parsed URL, without the corners in which a part of a password could be taken for something else.
fn read(name: &str, text: &str) -> Result<Url> {
    // The url crate drops tabs and line ends wherever they are, also from a password.
    if text.chars().any(char::is_control) {
        return Err(invalid(format!("{name} has a control character in it, such as a line end")));
    }
    if text.starts_with(['"', '\'']) {
        return Err(invalid(format!("{name} begins with a quotation mark")));
    }
    if !text.contains(':') {
        return Err(invalid(format!("{name} must be a URL, such as redis://localhost:6379")));
    }
    let url = Url::parse(text).map_err(|error| escape(name, &error.to_string()))?;
    if url.cannot_be_a_base() {
        return Err(invalid(format!("{name} must have :// after redis, rediss or another scheme")));
    }
    let after_host = [Some(url.path()), url.query(), url.fragment()];
    if after_host.iter().flatten().any(|part| part.contains('@')) {
        return Err(escape(name, "it has an @ after the host"));
    }
    Ok(url)
}

/// The usual reason for a URL that cannot be read. Does not show it.
fn escape(name: &str, reason: &str) -> Error {
    invalid(format!(
        "{name} cannot be read: {reason}. In user name and password, special characters must be percent-encoded: \
         / as %2F, # as %23, ? as %3F, @ as %40, % as %25"
    ))
}

fn tcp(name: &str, url: &Url) -> Result<Target> {
    let host = match url.host_str() {
        Some(host) => host::check(&format!("the host in {name}"), host)?,
        // Only without credentials: the url crate refuses `redis://:password@:6379`, so that a forgotten variable in
        // a template does not send a password to the local host.
        None if url.as_str().contains("://") => host::DEFAULT_HOST.to_owned(),
        None => return Err(invalid(format!("{name} must have :// after the scheme"))),
    };
    let port = url.port().unwrap_or(host::DEFAULT_PORT);
    if !PORT.has(u64::from(port)) {
        return Err(invalid(format!("the port in {name} must be {PORT}")));
    }
    Ok(Target::Tcp { host, port })
}

fn unix(name: &str, url: &Url) -> Result<Target> {
    if url.port().is_some() || !matches!(url.host_str(), None | Some("" | "localhost")) {
        return Err(invalid(format!("{name} must have three slashes before a socket's path, and no host")));
    }
    let path = decode(name, url.path())?.unwrap_or_default();
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        return Err(invalid(format!("{name} must have the path of a socket file")));
    }
    Ok(Target::Unix { path: PathBuf::from(path) })
}

fn encrypted(name: &str, url: &Url) -> Result<Wish> {
    let reject_unauthorized = match url.fragment() {
        None => None,
        Some("insecure") => Some(false),
        Some(_) => return Err(escape(name, "the only thing that may follow a # is insecure")),
    };
    Ok(Wish::On(Details { reject_unauthorized, ..Details::default() }))
}

fn parameters(name: &str, url: &Url, target: &Target, login: &mut Login) -> Result<()> {
    let is_socket = matches!(target, Target::Unix { .. });
    for pair in url.query().unwrap_or("").split('&') {
        let (key, raw) = pair.split_once('=').unwrap_or((pair, ""));
        match key {
            "db" => set_db(name, login, raw)?,
            "tls" | "ssl" => match boolean(raw) {
                Some(true) => login.tls = login.tls.take().or(Some(Wish::On(Details::default()))),
                Some(false) if login.tls.is_none() => {}
                Some(false) => return Err(invalid(format!("{name} asks for TLS and for {key}=false"))),
                None => return Err(invalid(format!("the parameter {key} in {name} must be true or false"))),
            },
            "protocol" if !matches!(raw, "2" | "resp2") => {
                return Err(invalid(format!(
                    "the parameter protocol in {name} must be 2: bulk replies need no other"
                )));
            }
            "user" if is_socket => login.username = login.username.take().or(decode(name, raw)?),
            "pass" if is_socket => {
                login.password = login.password.take().or(decode(name, raw)?.map(Secret::new));
            }
            _ => {}
        }
    }
    Ok(())
}

fn set_db(name: &str, login: &mut Login, text: &str) -> Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    // The text is not shown: it may be the rest of a password with a raw slash.
    let number = digits(text).filter(|number| DB.has(*number)).and_then(|number| u32::try_from(number).ok());
    let Some(number) = number else {
        return Err(invalid(format!("the database in {name} must be {DB}")));
    };
    match &login.db {
        Some(db) if db.number != number => {
            Err(invalid(format!("{name} has two databases, in its path and as db=")))
        }
        Some(_) | None => {
            login.db = Some(Db { number, name: format!("the database in {name}") });
            Ok(())
        }
    }
}

/// Percent-decoded; `None` if empty.
fn decode(name: &str, raw: &str) -> Result<Option<String>> {
    let hex = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, behind @ ..] = rest {
        let (byte, behind) = match (first, behind) {
            (b'%', [high, low, behind @ ..]) => match (hex(high), hex(low)) {
                (Some(high), Some(low)) => (high * 16 + low, behind),
                (Some(_) | None, Some(_) | None) => (b'%', &rest[1..]),
            },
            (byte, behind) => (*byte, behind),
        };
        bytes.push(byte);
        rest = behind;
    }
    let text = String::from_utf8(bytes).map_err(|_| escape(name, "it is not UTF-8 once decoded"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Address of Upstash's REST interface, without trailing slash. Plain HTTP only to this machine: the token goes along.
pub(super) fn rest(name: &str, text: &str) -> Result<String> {
    let wrong =
        || invalid(format!("{name} must be an https:// address without user name, password and parameters"));
    let url = Url::parse(text.trim()).map_err(|_| wrong())?;
    let is_local = match url.host() {
        Some(::url::Host::Domain(host)) => host == "localhost",
        Some(::url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(::url::Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => return Err(wrong()),
    };
    let is_bare = url.username().is_empty() && url.password().is_none() && url.query().is_none();
    let is_plain = !text.contains('@') && url.fragment().is_none();
    match url.scheme() {
        "https" if is_bare && is_plain => {}
        "http" if is_bare && is_plain && is_local => {}
        _ => return Err(wrong()),
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}
