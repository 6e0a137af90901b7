//! The classic wire: what the Python program `pyile_protocol` 0.1.1 says, in clear.
//!
//! JSON objects one after the other, without a length or anything between them. That program takes whatever one read
//! gives for one object; this reader finds where each ends, however they come. It must never panic on bytes, or keep
//! more of them than an object may have.
//!
//! # Sequence on a join link (seed, "Protocol Flow")
//! ```text
//!  joiner                                      host
//!    |<- {"banned": false} ----------------------|  after a short silence: it waits to be spoken to
//!    |-- {"shadow": "password"} ---------------->|
//!    |<- {"authenticated": true} ----------------|
//!    |-- {"peer_address": ["ip", port]} -------->|
//!    |<- {"distro": [["ip", port], …]} ----------|  everybody, the host first
//!    |<- {"dist_addr": ["ip", port]} ------------|  not before the joiner has read the one before
//!    |-- another connection, to that address --->|  over it a {"distro": …} at every change
//!    |<- {"<3": true}, answered by the same -----|  for life
//! ```
//! A message is a connection of its own to the recipient's peer listener:
//! `{"data": "text", "alias": "sender", "to": "Broadcast" or ["ip", port], "from": ["ip", port]}`, answered by
//! `{"data": {the same}, "alias": "receiver"}`.

use std::net::SocketAddrV4;

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokio_util::codec::Decoder;
use zeroize::{Zeroize as _, Zeroizing};

use crate::model::{Password, SafeText, limits};

/// Everything that travels on the classic wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// Host to joiner: whether it is banned.
    BannedStatus(bool),
    /// Joiner to host: the password, in clear.
    Password(Password),
    /// Host to joiner: whether the password was right.
    Authenticated(bool),
    /// Joiner to host: where it listens for messages.
    PeerAddress(Address),
    /// Host to members: everybody, the host first.
    Roster(Vec<Address>),
    /// Host to joiner: where rosters are to be had from now on.
    DistributionAddress(Address),
    /// Both ways: the heartbeat.
    Beat,
    /// Any member to any other.
    Message(Message),
    /// The answer to a message: the receiver has it.
    Reply(Reply),
}

/// An address as it is written: the host part may be a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address(pub String, pub u16);

impl Address {
    /// The address, when it is one.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddrV4> {
        self.0.parse().ok().map(|ip| SocketAddrV4::new(ip, self.1))
    }
}

impl From<SocketAddrV4> for Address {
    fn from(addr: SocketAddrV4) -> Self {
        Self(addr.ip().to_string(), addr.port())
    }
}

/// A message. Everything in it is what its sender says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What it says.
    pub data: String,
    /// The label that the sender gives itself.
    pub alias: String,
    /// For everyone, or for the peer at this address.
    pub to: To,
    /// Where the sender listens.
    pub from: Address,
}

/// The answer to a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The message.
    pub data: Message,
    /// The label that the receiver gives itself.
    pub alias: String,
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// All.
    Everyone,
    /// The peer that listens there.
    Peer(Address),
}

const BROADCAST: &str = "Broadcast";

impl Serialize for To {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Everyone => serializer.serialize_str(BROADCAST),
            Self::Peer(addr) => addr.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for To {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Word(String),
            Address(Address),
        }
        match Written::deserialize(deserializer)? {
            Written::Word(word) if word == BROADCAST => Ok(Self::Everyone),
            Written::Word(_) => Err(serde::de::Error::custom("neither \"Broadcast\" nor an address")),
            Written::Address(addr) => Ok(Self::Peer(addr)),
        }
    }
}

/// Bytes that are no object of this wire: the peer's fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// More bytes than an object may have.
    #[error("an object of more than {0} bytes")]
    TooLong(usize),
    /// Something else than an object.
    #[error("what is no object of the classic wire: {0}")]
    NotAnObject(String),
}

/// The keys of all objects; which of them are there tells what an object is.
#[derive(Deserialize)]
struct Written {
    banned: Option<bool>,
    shadow: Option<Password>,
    authenticated: Option<bool>,
    peer_address: Option<Address>,
    distro: Option<Vec<Address>>,
    dist_addr: Option<Address>,
    #[serde(rename = "<3")]
    beat: Option<bool>,
}

impl Object {
    /// The object as it travels.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        // Writing these to memory cannot fail; nothing at all would stand for it.
        let bytes = |value: &serde_json::Value| Bytes::from(serde_json::to_vec(value).unwrap_or_default());
        match self {
            Self::BannedStatus(is_banned) => bytes(&serde_json::json!({"banned": is_banned})),
            Self::Password(password) => password_object(password),
            Self::Authenticated(is_right) => bytes(&serde_json::json!({"authenticated": is_right})),
            Self::PeerAddress(addr) => bytes(&serde_json::json!({"peer_address": addr})),
            Self::Roster(addrs) => bytes(&serde_json::json!({"distro": addrs})),
            Self::DistributionAddress(addr) => bytes(&serde_json::json!({"dist_addr": addr})),
            Self::Beat => bytes(&serde_json::json!({"<3": true})),
            Self::Message(message) => serde_json::to_vec(message).unwrap_or_default().into(),
            Self::Reply(reply) => serde_json::to_vec(reply).unwrap_or_default().into(),
        }
    }

    /// Reads an object.
    pub fn decode(bytes: &[u8]) -> Result<Self, ObjectError> {
        if let Ok(message) = serde_json::from_slice::<Message>(bytes) {
            return Ok(Self::Message(message));
        }
        if let Ok(reply) = serde_json::from_slice(bytes) {
            return Ok(Self::Reply(reply));
        }
        let unknown = || ObjectError::NotAnObject(excerpt(bytes));
        match serde_json::from_slice(bytes).map_err(|_| unknown())? {
            Written { banned: Some(is_banned), .. } => Ok(Self::BannedStatus(is_banned)),
            Written { shadow: Some(password), .. } => Ok(Self::Password(password)),
            Written { authenticated: Some(is_right), .. } => Ok(Self::Authenticated(is_right)),
            Written { peer_address: Some(addr), .. } => Ok(Self::PeerAddress(addr)),
            Written { distro: Some(addrs), .. } => Ok(Self::Roster(addrs)),
            Written { dist_addr: Some(addr), .. } => Ok(Self::DistributionAddress(addr)),
            Written { beat: Some(_), .. } => Ok(Self::Beat),
            _ => Err(unknown()),
        }
    }
}

const PASSWORD_KEY: &[u8] = b"shadow";

/// The password's object is wiped once it is sent.
fn password_object(password: &Password) -> Bytes {
    // Large enough not to move: what is left behind would not be wiped.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limits::CLASSIC_BEFORE + 6 * limits::PASSWORD_BYTES));
    bytes.extend_from_slice(br#"{"shadow": "#);
    let text = Zeroizing::new(String::from_utf8_lossy(password.as_bytes()).into_owned());
    let _ = serde_json::to_writer(&mut *bytes, text.as_str());
    bytes.push(b'}');
    Bytes::from_owner(bytes)
}

/// The beginning of what came, for an error.
fn excerpt(bytes: &[u8]) -> String {
    if bytes.windows(PASSWORD_KEY.len()).any(|window| window == PASSWORD_KEY) {
        return "a password that is none".to_owned();
    }
    let start = bytes.get(..limits::CLASSIC_EXCERPT).unwrap_or(bytes);
    SafeText::line(&String::from_utf8_lossy(start)).to_string()
}

/// Cuts a stream into objects.
#[derive(Debug)]
pub struct ObjectCodec {
    /// Bytes of an object, at most.
    limit: usize,
    /// Bytes that were looked at.
    seen: usize,
    /// Brackets that are open.
    depth: usize,
    in_text: bool,
    is_escaped: bool,
}

impl ObjectCodec {
    /// Objects of at most so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, seen: 0, depth: 0, in_text: false, is_escaped: false }
    }

    /// How many bytes the first object has, once it is there as a whole.
    fn end(&mut self, src: &[u8]) -> Option<usize> {
        for (at, byte) in src.iter().enumerate().skip(self.seen) {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_text => self.is_escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' | b'[' if !self.in_text => self.depth += 1,
                b'}' | b']' if !self.in_text => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        self.seen = src.len();
        None
    }
}

impl Decoder for ObjectCodec {
    type Item = Object;
    type Error = ClassicError;

    fn decode(&mut self, src: &mut BytesMut) -> Result<Option<Object>, ClassicError> {
        // An object is read as soon as it is there, whatever comes after it.
        if src.first().is_some_and(|byte| *byte != b'{') {
            let found = excerpt(src);
            return Err(ObjectError::NotAnObject(found).into());
        }
        let end = self.end(src);
        if end.unwrap_or(src.len()) > self.limit {
            return Err(ObjectError::TooLong(self.limit).into());
        }
        let Some(end) = end else { return Ok(None) };
        *self = Self::new(self.limit);
        let mut bytes = src.split_to(end);
        let object = Object::decode(&bytes);
        // It may hold the password.
        bytes.as_mut().zeroize();
        Ok(Some(object?))
    }
}

/// An object that could not be read: the stream failed, or the peer sent what is none.
#[derive(Debug, thiserror::Error)]
pub enum ClassicError {
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The peer's fault.
    #[error(transparent)]
    Object(#[from] ObjectError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Address {
        text.parse::<SocketAddrV4>().unwrap().into()
    }

    fn message(data: &str, to: To) -> Message {
        Message { data: data.into(), alias: "bob".into(), to, from: addr("10.0.0.2:49001") }
    }

    /// As the Python program writes them.
    fn golden() -> Vec<(&'static str, Object)> {
        vec![
            (r#"{"banned": false}"#, Object::BannedStatus(false)),
            (r#"{"shadow": "open \"sesame\""}"#, Object::Password(Password::new("open \"sesame\"".into()))),
            (r#"{"authenticated": true}"#, Object::Authenticated(true)),
            (r#"{"peer_address": ["10.0.0.2", 49001]}"#, Object::PeerAddress(addr("10.0.0.2:49001"))),
            (
                r#"{"distro": [["10.0.0.1", 49000], ["localhost", 49001]]}"#,
                Object::Roster(vec![addr("10.0.0.1:49000"), Address("localhost".into(), 49_001)]),
            ),
            (r#"{"dist_addr": ["10.0.0.1", 50500]}"#, Object::DistributionAddress(addr("10.0.0.1:50500"))),
            (r#"{"<3": true}"#, Object::Beat),
            (
                r#"{"data": "hi }\u20ac{", "alias": "bob", "to": "Broadcast", "from": ["10.0.0.2", 49001]}"#,
                Object::Message(message("hi }€{", To::Everyone)),
            ),
            (
                r#"{"data": "psst", "alias": "bob", "to": ["10.0.0.1", 49000], "from": ["10.0.0.2", 49001]}"#,
                Object::Message(message("psst", To::Peer(addr("10.0.0.1:49000")))),
            ),
            (
                r#"{"data": {"data": "psst", "alias": "bob", "to": ["10.0.0.1", 49000], "from": ["10.0.0.2", 49001]}, "alias": "ann"}"#,
                Object::Reply(Reply {
                    data: message("psst", To::Peer(addr("10.0.0.1:49000"))),
                    alias: "ann".into(),
                }),
            ),
        ]
    }

    fn read(codec: &mut ObjectCodec, bytes: &mut BytesMut) -> Option<Object> {
        codec.decode(bytes).unwrap()
    }

    #[test]
    fn golden_bytes() {
        for (bytes, object) in golden() {
            assert_eq!(Object::decode(bytes.as_bytes()).as_ref(), Ok(&object), "{bytes}");
            assert_eq!(Object::decode(&object.encode()), Ok(object.clone()), "{bytes}");
            assert!(object.encode().len() <= bytes.len(), "no longer than that program's");
        }
    }

    #[test]
    fn objects_that_come_together_or_in_single_bytes_are_told_apart() {
        let all: String = golden().into_iter().map(|(bytes, _)| bytes).collect();
        let objects: Vec<Object> = golden().into_iter().map(|(_, object)| object).collect();
        let mut codec = ObjectCodec::new(limits::CLASSIC_OBJECT);
        let mut buffer = BytesMut::from(all.as_bytes());
        let together: Vec<Object> = std::iter::from_fn(|| read(&mut codec, &mut buffer)).collect();
        assert_eq!(together, objects);
        let mut one_by_one = Vec::new();
        for byte in all.bytes() {
            buffer.extend_from_slice(&[byte]);
            one_by_one.extend(read(&mut codec, &mut buffer));
        }
        assert_eq!(one_by_one, objects);
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_no_object_is_refused_and_costs_no_memory() {
        let refused = |bytes: &[u8], limit| {
            ObjectCodec::new(limit).decode(&mut BytesMut::from(bytes)).unwrap_err().to_string()
        };
        for bytes in [
            "GET / HTTP/1.1\r\n",
            "{}",
            r#"{"banned": "yes"}"#,
            "{]",
            r#"{"data": 5, "alias": "x", "to": "Broadcast", "from": ["x", 1]}"#,
            r#"{"data": "x", "alias": "x", "to": "Bob", "from": ["x", 1]}"#,
            r#"{"peer_address": ["10.0.0.1", 70000]}"#,
            r#"{"peer_address": ["10.0.0.1"]}"#,
            r#"{"shadow": 12345}"#,
        ] {
            let error = refused(bytes.as_bytes(), 1000);
            assert!(error.starts_with("what is no object of the classic wire: "), "{bytes}: {error}");
            assert!(!error.contains("12345"), "{error}");
        }
        assert!(!refused(b"\x1b[31m{", 1000).contains('\x1b'), "raw bytes of a peer");
        assert!(refused(&[b'x'; 1000], 1000).len() < 100, "40 of them say enough");
        let deep = format!("{{\"a\":{}", "[".repeat(999));
        assert_eq!(refused(deep.as_bytes(), 1000), "an object of more than 1000 bytes");
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(400), "]".repeat(400));
        assert!(refused(deep.as_bytes(), 1000).starts_with("what is no object"));
    }

    #[test]
    fn the_password_is_in_no_debug_output() {
        let object = Object::Password(Password::new("open sesame".into()));
        assert!(!format!("{object:?}").contains("sesame"));
        assert_eq!(object.encode(), r#"{"shadow": "open sesame"}"#);
    }
}
