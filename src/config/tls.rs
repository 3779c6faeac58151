//! TLS: what was asked for, and what comes of several places that asked.

use std::fmt;

use super::secret::Secret;

/// How to encrypt.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tls {
    /// Trusted certificates (PEM) instead of the platform's.
    pub ca: Option<String>,
    /// The client's certificate (PEM); comes with `key`.
    pub cert: Option<String>,
    /// The client's private key (PEM).
    pub key: Option<Secret>,
    /// Name to ask for and to check, where it is not the host's.
    pub servername: Option<String>,
    /// Whether a certificate that does not verify ends the connection. Default true.
    pub reject_unauthorized: bool,
}

/// `Debug` tells which certificates are there, not their pages of text.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &self.ca.is_some())
            .field("cert", &self.cert.is_some())
            .field("key", &self.key)
            .field("servername", &self.servername)
            .field("reject_unauthorized", &self.reject_unauthorized)
            .finish()
    }
}

/// What one place (options, URL, environment) says of TLS.
#[derive(Clone)]
pub(super) enum Wish {
    Off,
    On(Details),
}

/// Details of TLS that one place gives.
#[derive(Clone, Default)]
pub(super) struct Details {
    pub(super) ca: Option<String>,
    pub(super) cert: Option<String>,
    pub(super) key: Option<Secret>,
    pub(super) servername: Option<String>,
    pub(super) reject_unauthorized: Option<bool>,
}

impl Wish {
    /// This wish decides; where it is for TLS, `later` adds the details that are missing.
    pub(super) fn or_details(self, later: Option<&Wish>) -> Wish {
        match (self, later) {
            (Wish::On(first), Some(Wish::On(second))) => {
                let second = second.clone();
                Wish::On(Details {
                    ca: first.ca.or(second.ca),
                    cert: first.cert.or(second.cert),
                    key: first.key.or(second.key),
                    servername: first.servername.or(second.servername),
                    // `true` is greater than `false`, and both than nothing: the stricter of the two.
                    reject_unauthorized: first.reject_unauthorized.max(second.reject_unauthorized),
                })
            }
            (decided, None | Some(Wish::On(_) | Wish::Off)) => decided,
        }
    }

    pub(super) fn into_tls(self) -> Option<Tls> {
        match self {
            Wish::Off => None,
            Wish::On(details) => Some(Tls {
                ca: details.ca,
                cert: details.cert,
                key: details.key,
                servername: details.servername,
                reject_unauthorized: details.reject_unauthorized.unwrap_or(true),
            }),
        }
    }
}
