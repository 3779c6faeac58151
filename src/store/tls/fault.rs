//! What goes wrong in TLS, in words that say what to change.

use crate::error::{Error, Kind};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use std::error::Error as StdError;
use std::io;

/// The error for a failed TLS connection to `address`.
pub(crate) fn fault(address: &str, error: &rustls::Error) -> Error {
    let reason = reason(error);
    Error::new(Kind::Tls, format!("no TLS connection to {address}: {reason}")).with_cause(error)
}

/// The TLS error inside another error, where there is one.
pub(crate) fn explain(address: &str, error: &(dyn StdError + 'static)) -> Option<Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(inner) = error.downcast_ref::<rustls::Error>() {
            return Some(fault(address, inner));
        }
        // What an I/O error is made from is not its source.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn reason(error: &rustls::Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls adds errors; its own words serve for the others"
    )]
    match error {
        rustls::Error::InvalidCertificate(certificate) => self::certificate(certificate),
        rustls::Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::MessageTooLarge,
        ) => "the server does not speak TLS on this port".to_owned(),
        rustls::Error::AlertReceived(alert) => refusal(*alert),
        rustls::Error::PeerIncompatible(_) => format!("the server offers nothing that is safe: {error}"),
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds errors; its own words serve for the others")]
    match error {
        CertificateError::UnknownIssuer => {
            "the server's certificate comes from an unknown CA; tls.ca takes the certificate of the one to trust"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("the server's certificate is for another host name ({error}); tls.servername takes the name to check")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("the server's certificate has expired ({error})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("the server's certificate is not valid yet ({error})")
        }
        other => format!("the server's certificate cannot be trusted: {other}"),
    }
}

fn refusal(alert: AlertDescription) -> String {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the others are told by their names")]
    match alert {
        AlertDescription::CertificateRequired => {
            "the server asks for a client certificate (tls.cert and tls.key)".to_owned()
        }
        AlertDescription::UnknownCA
        | AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateRevoked => {
            format!("the server does not accept the client certificate ({alert:?})")
        }
        other => format!("the server ended the handshake ({other:?})"),
    }
}
