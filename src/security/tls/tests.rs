use std::sync::Arc;

use rustls::{ClientConnection, ServerConnection};

use super::{super::identity::spki, *};
use crate::{
    model::PeerId,
    wire::{JOIN_ALPN, PEER_ALPN},
};

fn identity() -> Identity {
    Identity::generate().unwrap().0
}

fn handshake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
) -> Result<(Secured, Secured), CloseReason> {
    let mut client = ClientConnection::new(client, server_name()).unwrap();
    let mut server = ServerConnection::new(server).unwrap();
    let mut failed = None;
    for _ in 0..8 {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        if let Err(error) = server.process_new_packets() {
            failed.get_or_insert(why(&error));
        }
        let mut bytes = Vec::new();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        if let Err(error) = client.process_new_packets() {
            failed.get_or_insert(why(&error));
        }
    }
    if let Some(reason) = failed {
        return Err(reason);
    }
    let seen_by_client = secured(&client, JOIN_ALPN).map_err(|closed| closed.reason)?;
    let seen_by_server = secured(&server, JOIN_ALPN).map_err(|closed| closed.reason)?;
    Ok((seen_by_client, seen_by_server))
}

#[test]
fn both_ends_prove_their_keys_and_share_the_binding() {
    let (host, joiner) = (identity(), identity());
    let (at_joiner, at_host) = handshake(
        client_config(&joiner, JOIN_ALPN, Some(host.peer_id())).unwrap(),
        server_config(&host, JOIN_ALPN).unwrap(),
    )
    .unwrap();
    assert_eq!(at_joiner.peer, host.peer_id());
    assert_eq!(at_host.peer, joiner.peer_id());
    assert_eq!(at_joiner.binding, at_host.binding);
    let (again, _) =
        handshake(client_config(&joiner, JOIN_ALPN, None).unwrap(), server_config(&host, JOIN_ALPN).unwrap())
            .unwrap();
    assert_ne!(at_joiner.binding, again.binding, "each link has a binding of its own");
}

#[test]
fn nothing_is_resumed_or_sent_early() {
    let (host, joiner) = (identity(), identity());
    let server = server_config(&host, JOIN_ALPN).unwrap();
    let client = client_config(&joiner, JOIN_ALPN, None).unwrap();
    assert_eq!((server.send_tls13_tickets, server.max_early_data_size), (0, 0));
    assert!(!client.enable_early_data);
    // The same configurations again: both keys are proven again, over a link with another binding.
    let first = handshake(client.clone(), server.clone()).unwrap();
    let second = handshake(client, server).unwrap();
    assert_eq!(first.1.peer, second.1.peer);
    assert_ne!(first.1.binding, second.1.binding);
}

#[test]
fn a_dialler_insists_on_the_key_it_means() {
    let (host, joiner, other) = (identity(), identity(), identity());
    let result = handshake(
        client_config(&joiner, JOIN_ALPN, Some(other.peer_id())).unwrap(),
        server_config(&host, JOIN_ALPN).unwrap(),
    );
    assert_eq!(result, Err(CloseReason::KeyChanged));
}

#[test]
fn another_version_or_kind_of_link_is_refused() {
    let (host, joiner) = (identity(), identity());
    for alpn in [b"pyile-join/2", PEER_ALPN] {
        let result =
            handshake(client_config(&joiner, alpn, None).unwrap(), server_config(&host, JOIN_ALPN).unwrap());
        assert_eq!(result, Err(CloseReason::IncompatibleVersion));
    }
}

#[test]
fn a_client_without_alpn_is_refused() {
    let (host, joiner) = (identity(), identity());
    let mut client = Arc::unwrap_or_clone(client_config(&joiner, JOIN_ALPN, None).unwrap());
    client.alpn_protocols.clear();
    let result = handshake(Arc::new(client), server_config(&host, JOIN_ALPN).unwrap());
    assert_eq!(result, Err(CloseReason::IncompatibleVersion));
}

#[test]
fn a_client_without_a_key_is_refused() {
    let host = identity();
    let provider = provider();
    let verifier = Arc::new(RawKeys::new(&provider, None));
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    client.alpn_protocols = vec![JOIN_ALPN.to_vec()];
    let result = handshake(Arc::new(client), server_config(&host, JOIN_ALPN).unwrap());
    assert!(result.is_err());
}

#[test]
fn only_the_44_bytes_of_an_ed25519_key_are_a_key() {
    let bytes = spki(&PeerId([3; 32]));
    assert_eq!(key_of(&CertificateDer::from(bytes.to_vec())), Ok(PeerId([3; 32])));
    let mut longer = bytes.to_vec();
    longer.push(0);
    assert!(key_of(&CertificateDer::from(longer)).is_err());
    let mut other = bytes.to_vec();
    other[8] = 0x71;
    assert!(key_of(&CertificateDer::from(other)).is_err(), "Ed448");
}
