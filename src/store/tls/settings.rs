//! From the options to what rustls connects with.

use super::verify::{Anyone, Given};
use crate::config::{Secret, Tls};
use crate::error::{Error, Kind, Result};
use once_cell::sync::OnceCell;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::task::spawn_blocking;

/// Prepared settings; a process has few. Sessions can be resumed as long as their settings stay.
static PREPARED: Mutex<Option<HashMap<Tls, Arc<ClientConfig>>>> = Mutex::new(None);
/// More than these are not kept: programs that make up options at every call are not to fill the memory.
const MOST_PREPARED: usize = 64;

static SYSTEM: OnceCell<Arc<RootCertStore>> = OnceCell::new();

/// What to connect with; prepared on the first call for these options.
///
/// # Errors
/// `InvalidConfig`, naming the option.
pub(crate) async fn settings(tls: &Tls) -> Result<Arc<ClientConfig>> {
    if let Some(known) = prepared(|known| known.get(tls).cloned()) {
        return Ok(known);
    }
    // Reading the system's certificates takes milliseconds; others have work on this thread.
    let own = tls.clone();
    let made = spawn_blocking(move || prepare(&own))
        .await
        .map_err(|error| Error::new(Kind::Tls, "the certificates could not be read").with_cause(error))??;
    prepared(|known| {
        if known.len() >= MOST_PREPARED {
            known.clear();
        }
        known.insert(tls.clone(), made.clone());
    });
    Ok(made)
}

/// Whether the certificates and the key in the options can be used.
///
/// # Errors
/// `InvalidConfig`, naming the option.
pub(crate) fn check(tls: &Tls) -> Result<()> {
    tls.ca.as_deref().map(given).transpose()?;
    identity(tls)?.map(|(chain, key)| client_identity(chain, &key)).transpose()?;
    Ok(())
}

fn prepared<T>(with: impl FnOnce(&mut HashMap<Tls, Arc<ClientConfig>>) -> T) -> T {
    let mut guard = PREPARED.lock().unwrap_or_else(PoisonError::into_inner);
    with(guard.get_or_insert_default())
}

fn prepare(tls: &Tls) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(ring::default_provider());
    let unusable =
        |error: &dyn std::fmt::Display| Error::new(Kind::Tls, "TLS could not be set up").with_cause(error);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = if !tls.reject_unauthorized {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone::new(provider)))
    } else if let Some(ca) = &tls.ca {
        let given = given(ca)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(store_of(&given).into(), provider)
            .build()
            .map_err(|error| unusable(&error))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Given::new(verifier, given)))
    } else {
        builder.with_root_certificates(SYSTEM.get_or_init(system).clone())
    };
    let config = match identity(tls)? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(|error| mismatch(&error))?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// The CAs that this machine trusts, with those of the file that `NODE_EXTRA_CA_CERTS` names, as for Node itself. Where
/// the system has none, as in slim containers, Mozilla's list stands in, which Node brings along, too.
fn system() -> Arc<RootCertStore> {
    let mut store = RootCertStore::empty();
    // A certificate that cannot be read is one CA less: its servers are then refused by name.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = std::env::var_os("NODE_EXTRA_CA_CERTS")
        && let Ok(extra) = CertificateDer::pem_file_iter(Path::new(&path))
    {
        store.add_parsable_certificates(extra.flatten());
    }
    Arc::new(store)
}

fn store_of(certificates: &[CertificateDer<'static>]) -> RootCertStore {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(certificates.iter().cloned());
    store
}

/// The certificates of `tls.ca`.
fn given(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = certificates("tls.ca", pem)?;
    if store_of(&certificates).len() == certificates.len() {
        Ok(certificates)
    } else {
        Err(Error::new(Kind::InvalidConfig, "tls.ca has a certificate that cannot be used"))
    }
}

/// Certificates in PEM; at least one.
fn certificates(name: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let list: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match list {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err(Error::new(Kind::InvalidConfig, format!("{name} has no certificate in it"))),
        Err(error) => {
            Err(Error::new(Kind::InvalidConfig, format!("{name} cannot be read: {error}")).with_cause(error))
        }
    }
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// The client's certificate and key.
fn identity(tls: &Tls) -> Result<Option<Identity>> {
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else { return Ok(None) };
    let chain = certificates("tls.cert", cert)?;
    // Its text is not shown, and neither is what the parser says of it.
    let key = PrivateKeyDer::from_pem_slice(Secret::expose(key).as_bytes()).map_err(|_| {
        Error::new(Kind::InvalidConfig, "tls.key has no private key in PEM without a passphrase in it")
    })?;
    Ok(Some((chain, key)))
}

fn client_identity(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'static>) -> Result<()> {
    let provider: CryptoProvider = ring::default_provider();
    rustls::sign::CertifiedKey::from_der(chain, key.clone_key(), &provider)
        .map(drop)
        .map_err(|error| mismatch(&error))
}

fn mismatch(error: &rustls::Error) -> Error {
    Error::new(Kind::InvalidConfig, format!("tls.cert and tls.key cannot be used together: {error}"))
        .with_cause(error)
}
