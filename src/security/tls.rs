//! TLS 1.3 with raw Ed25519 keys (RFC 7250): each link proves the keys at both of its ends, and nothing else.
//!
//! It must never accept another version, a certificate, a resumed session or a link whose ALPN is not exactly the
//! one expected.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, CipherSuite, ClientConfig, ConnectionCommon, DigitallySignedStruct, DistinguishedName,
    Error, PeerIncompatible, ServerConfig, SignatureScheme,
    client::{
        AlwaysResolvesClientRawPublicKeys, Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key},
    pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime},
    server::{
        AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::identity::{Identity, SPKI_PREFIX};
use crate::model::{CloseReason, Closed, PeerId};

const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// What a finished handshake proved.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secured {
    /// The key at the other end.
    pub peer: PeerId,
    /// The TLS exporter of this link (RFC 9266), for the password proof.
    pub binding: [u8; 32],
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secured({})", self.peer.short())
    }
}

fn key_of(certificate: &CertificateDer<'_>) -> Result<PeerId, Error> {
    let bytes: &[u8] = certificate.as_ref();
    match bytes.strip_prefix(&SPKI_PREFIX).map(<[u8; 32]>::try_from) {
        Some(Ok(key)) => Ok(PeerId(key)),
        _ => Err(Error::InvalidCertificate(CertificateError::BadEncoding)),
    }
}

/// The listening side of links that speak `alpn`.
pub fn server_config(identity: &Identity, alpn: &[u8]) -> Result<Arc<ServerConfig>, Error> {
    let provider = provider();
    let verifier = Arc::new(RawKeys::new(&provider, None));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(identity.certified())));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// The dialling side of links that speak `alpn`, to exactly the key `expected` where it is known.
pub fn client_config(
    identity: &Identity,
    alpn: &[u8],
    expected: Option<PeerId>,
) -> Result<Arc<ClientConfig>, Error> {
    let provider = provider();
    let verifier = Arc::new(RawKeys::new(&provider, expected));
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(identity.certified())));
    config.alpn_protocols = vec![alpn.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.enable_early_data = false;
    Ok(Arc::new(config))
}

/// rustls asks for a name although raw keys have none; it is not sent.
#[must_use]
pub fn server_name() -> ServerName<'static> {
    ServerName::try_from("pyile").unwrap_or(ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()))
}

/// What the handshake proved, once it is finished. A client that offers no ALPN passes the handshake, so that the
/// comparison is made here, on both sides.
pub fn secured<Side>(connection: &ConnectionCommon<Side>, alpn: &[u8]) -> Result<Secured, Closed> {
    if connection.alpn_protocol() != Some(alpn) {
        return Err(CloseReason::IncompatibleVersion.into());
    }
    let keys = connection.peer_certificates().unwrap_or_default();
    let [key] = keys else { return Err(CloseReason::NotPyile.into()) };
    let peer = key_of(key).map_err(|_| Closed::from(CloseReason::NotPyile))?;
    let binding = connection
        .export_keying_material([0; 32], EXPORTER_LABEL, Some(b""))
        .map_err(|error| Closed::new(CloseReason::Internal, error.to_string()))?;
    Ok(Secured { peer, binding })
}

/// Why a handshake failed, in our vocabulary.
#[must_use]
pub fn why(error: &Error) -> CloseReason {
    match error {
        Error::NoApplicationProtocol => CloseReason::IncompatibleVersion,
        Error::AlertReceived(alert) => match alert {
            rustls::AlertDescription::NoApplicationProtocol => CloseReason::IncompatibleVersion,
            rustls::AlertDescription::BadCertificate | rustls::AlertDescription::AccessDenied => {
                CloseReason::NotAMember
            }
            _ => CloseReason::NotPyile,
        },
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            CloseReason::KeyChanged
        }
        _ => CloseReason::NotPyile,
    }
}

/// One cipher suite is enough where both ends are ours; the choice of AES or `ChaCha20` follows the hardware.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| {
        matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256 | CipherSuite::TLS13_CHACHA20_POLY1305_SHA256
        )
    });
    Arc::new(provider)
}

/// Checks that the other end proves an Ed25519 key, and exactly the expected one where there is one. Who may do
/// what with a key is the node's decision.
#[derive(Debug)]
struct RawKeys {
    algorithms: WebPkiSupportedAlgorithms,
    expected: Option<PeerId>,
}

impl RawKeys {
    fn new(provider: &CryptoProvider, expected: Option<PeerId>) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, expected }
    }

    fn check_key(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        let key = key_of(certificate)?;
        match self.expected {
            Some(expected) if expected != key => {
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
            _ => Ok(()),
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(certificate.as_ref());
        if signed.scheme != SignatureScheme::ED25519 {
            return Err(Error::InvalidCertificate(CertificateError::BadSignature));
        }
        verify_tls13_signature_with_raw_key(message, &key, signed, &self.algorithms)
    }
}

/// TLS 1.2 is not compiled in; rustls still asks.
fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
}

impl ServerCertVerifier for RawKeys {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !intermediates.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        self.check_key(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for RawKeys {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !intermediates.is_empty() {
            return Err(Error::InvalidCertificate(CertificateError::BadEncoding));
        }
        self.check_key(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
