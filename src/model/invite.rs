//! Invites: one line that says where a network's host is, by which key it is known, and with which pass one gets in.
//!
//! `pyile://ADDRESS,.../KEY#PASS`, where case does not matter. The host keeps of a pass only its hash.

use std::{fmt, net::SocketAddr, str::FromStr};

use data_encoding::BASE32_NOPAD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::{limits, peer::PeerId, role::Wire, time::Timestamp};

/// What every invite begins with.
const SCHEME: &str = "pyile://";

/// 128 random bits that let somebody in. `Debug` shows nothing of them, there is no `Display`, and they are wiped on drop.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pass([u8; limits::PASS_BYTES]);

impl Pass {
    /// The pass with these bits.
    #[must_use]
    pub fn new(bits: [u8; limits::PASS_BYTES]) -> Self {
        Self(bits)
    }

    /// Its bits, to be hashed.
    #[must_use]
    pub fn bits(&self) -> &[u8; limits::PASS_BYTES] {
        &self.0
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pass(…)")
    }
}

/// Where a host is, its key, and a pass, unless the invite only says whose key it is and the password is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invite {
    /// Where joiners connect to, best first: 1 to [`limits::INVITE_ADDRS`].
    pub addrs: Vec<SocketAddr>,
    /// The host's key.
    pub key: PeerId,
    /// What lets somebody in.
    pub pass: Option<Pass>,
}

/// Why a text is no invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It has not the parts of one.
    #[error("an invite is one line, pyile://ADDRESS/KEY#PASS; copy all of it")]
    Form,
    /// An address that is none.
    #[error("{0:?} in the invite is no IP address; copy all of it")]
    Address(String),
    /// Too many addresses.
    #[error("the invite has {0} addresses, and at most {max} are possible", max = limits::INVITE_ADDRS)]
    Addresses(usize),
    /// A key that is none.
    #[error("the key in the invite is not whole; copy all of it")]
    Key,
    /// A pass that is none.
    #[error("the pass at the end of the invite is not whole; copy all of it")]
    Pass,
}

impl Invite {
    /// True for a text that is meant to be an invite, whether or not it is one.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.trim().get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME))
    }

    /// Of the addresses of a host, best first, those that an invite has.
    #[must_use]
    pub fn choose(mut addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
        // A machine's address for itself leads nowhere from others.
        if addrs.iter().any(|addr| !addr.ip().is_loopback()) {
            addrs.retain(|addr| !addr.ip().is_loopback());
        }
        let mut chosen: Vec<SocketAddr> = Vec::new();
        for addr in addrs {
            if !addr.ip().is_unspecified() && !chosen.contains(&addr) {
                chosen.push(addr);
            }
        }
        chosen.truncate(limits::INVITE_ADDRS);
        chosen
    }

    /// The line that is given to others. Whoever has it may get in.
    #[must_use]
    pub fn link(&self) -> Zeroizing<String> {
        // So much that the letters of the pass are never moved, which would leave a copy behind.
        let mut link = Zeroizing::new(String::with_capacity(limits::INVITE_BYTES));
        link.push_str("pyile://");
        for (at, addr) in self.addrs.iter().enumerate() {
            if at > 0 {
                link.push(',');
            }
            link.push_str(&short(addr));
        }
        link.push('/');
        link.push_str(&self.key.to_string());
        if let Some(pass) = &self.pass {
            link.push('#');
            let mut letters = Zeroizing::new(BASE32_NOPAD.encode(&pass.0));
            letters.make_ascii_lowercase();
            link.push_str(&letters);
        }
        link
    }
}

/// An address without the port that every host has unless it says otherwise.
fn short(addr: &SocketAddr) -> String {
    match addr {
        addr if addr.port() != limits::JOIN_PORT => addr.to_string(),
        SocketAddr::V4(addr) => addr.ip().to_string(),
        SocketAddr::V6(addr) => format!("[{}]", addr.ip()),
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = |ip| SocketAddr::new(ip, limits::JOIN_PORT);
    text.parse().ok().or_else(|| bare.parse().ok().map(with_port))
}

impl FromStr for Invite {
    type Err = InviteError;

    /// Reads an invite of at most twice [`limits::INVITE_BYTES`] bytes. Blanks and line breaks in it are those of a terminal that
    /// broke the line, and are left out.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > 2 * limits::INVITE_BYTES || !Self::is_meant(text) {
            return Err(InviteError::Form);
        }
        let mut line = Zeroizing::new(String::with_capacity(text.len()));
        line.extend(text.chars().filter(|c| !c.is_whitespace()));
        let rest = line.get(SCHEME.len()..).ok_or(InviteError::Form)?;
        let (addrs, rest) = rest.split_once('/').ok_or(InviteError::Form)?;
        let (key, pass) = match rest.split_once('#') {
            Some((key, pass)) => (key, Some(pass)),
            None => (rest, None),
        };
        let addrs = addrs
            .split(',')
            .map(|text| address(text).ok_or_else(|| InviteError::Address(text.chars().take(64).collect())))
            .collect::<Result<Vec<_>, _>>()?;
        if addrs.len() > limits::INVITE_ADDRS {
            return Err(InviteError::Addresses(addrs.len()));
        }
        let key = key.trim_end_matches('/').parse::<PeerId>().map_err(|_| InviteError::Key)?;
        if key.wire() == Wire::Classic {
            return Err(InviteError::Key);
        }
        let pass = pass.map(|letters| {
            let letters = Zeroizing::new(letters.to_ascii_uppercase());
            let bits =
                Zeroizing::new(BASE32_NOPAD.decode(letters.as_bytes()).map_err(|_| InviteError::Pass)?);
            bits.as_slice().try_into().map(Pass).map_err(|_| InviteError::Pass)
        });
        Ok(Self { addrs, key, pass: pass.transpose()? })
    }
}

/// What somebody joins by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinTarget {
    /// The host's name or address, with or without a port.
    Host(String),
    /// An invite.
    Invite(Box<Invite>),
}

impl JoinTarget {
    /// Where the host is, as `host:port` or without the port.
    #[must_use]
    pub fn host(&self) -> String {
        match self {
            Self::Host(host) => host.clone(),
            Self::Invite(invite) => invite.addrs.first().map(ToString::to_string).unwrap_or_default(),
        }
    }

    /// No password is needed.
    #[must_use]
    pub fn has_pass(&self) -> bool {
        matches!(self, Self::Invite(invite) if invite.pass.is_some())
    }
}

impl FromStr for JoinTarget {
    type Err = InviteError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if Invite::is_meant(text) {
            return text.parse().map(|invite| Self::Invite(Box::new(invite)));
        }
        Ok(Self::Host(text.trim().to_owned()))
    }
}

/// What a host keeps of a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptPass {
    /// The SHA-256 of its bits. It is random enough that nobody finds it by trying.
    pub hash: [u8; 32],
    /// How often it may still be used.
    pub uses: u32,
    /// Until when.
    pub until: Timestamp,
    /// When it was made.
    pub since: Timestamp,
    /// The member that asked for it; nothing for the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<PeerId>,
    /// The host has taken it back.
    #[serde(default)]
    pub is_revoked: bool,
}

impl KeptPass {
    /// What it is called by: six letters.
    #[must_use]
    pub fn id(&self) -> String {
        let mut letters = BASE32_NOPAD.encode(&self.hash).to_ascii_lowercase();
        letters.truncate(limits::PASS_ID);
        letters
    }

    /// Why it lets nobody in; nothing when it does.
    #[must_use]
    pub fn why_not(&self, now: Timestamp) -> Option<PassError> {
        match self {
            _ if self.is_revoked => Some(PassError::Revoked),
            _ if self.uses == 0 => Some(PassError::Used),
            _ if now >= self.until => Some(PassError::Expired),
            _ => None,
        }
    }
}

/// Why a pass lets nobody in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PassError {
    /// The host has no such pass.
    #[error("the host does not know this invite; ask for another, or join with the password")]
    Unknown,
    /// It was good for so many, and they are in.
    #[error("this invite is used up; ask for another, or join with the password")]
    Used,
    /// Its time is over.
    #[error("this invite has expired; ask for another, or join with the password")]
    Expired,
    /// The host has taken it back.
    #[error("the host has taken this invite back; ask for another, or join with the password")]
    Revoked,
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: PeerId = PeerId([7; 32]);

    fn invite(addrs: &[&str], pass: Option<Pass>) -> Invite {
        Invite { addrs: addrs.iter().map(|addr| addr.parse().unwrap()).collect(), key: KEY, pass }
    }

    #[test]
    fn an_invite_is_one_line_and_is_read_back() {
        let pass = || Some(Pass::new([0xab; 16]));
        for (invite, line) in [
            (invite(&["192.168.1.66:4702"], pass()), "pyile://192.168.1.66/KEY#vov2xk5lvov2xk5lvov2xk5lvm"),
            (
                invite(&["10.0.0.1:5000", "[2001:db8::1]:4702", "[2001:db8::2]:1"], pass()),
                "pyile://10.0.0.1:5000,[2001:db8::1],[2001:db8::2]:1/KEY#vov2xk5lvov2xk5lvov2xk5lvm",
            ),
            (invite(&["192.168.1.66:4702"], None), "pyile://192.168.1.66/KEY"),
        ] {
            let line = line.replace("KEY", &KEY.to_string());
            assert_eq!(*invite.link(), line);
            assert_eq!(line.parse(), Ok(invite.clone()));
            assert_eq!(line.to_uppercase().parse(), Ok(invite.clone()), "as a QR code has it");
            let (one, two) = line.split_at(40);
            assert_eq!(format!("  {one}\r\n  {two}\n").parse(), Ok(invite), "as a terminal breaks it");
        }
    }

    #[test]
    fn what_is_no_invite_says_what_is_wrong() {
        let key = KEY.to_string();
        let read = |text: &str| text.replace("KEY", &key).parse::<Invite>().unwrap_err();
        for (text, error) in [
            ("192.168.1.66:4702", InviteError::Form),
            ("pyile://", InviteError::Form),
            ("pyile://192.168.1.66", InviteError::Form),
            ("https://192.168.1.66/KEY", InviteError::Form),
            ("pyile:///KEY", InviteError::Address(String::new())),
            ("pyile://example.org/KEY", InviteError::Address("example.org".to_owned())),
            ("pyile://1.1.1.1,2.2.2.2,3.3.3.3,4.4.4.4,5.5.5.5/KEY", InviteError::Addresses(5)),
            ("pyile://192.168.1.66/abc", InviteError::Key),
            ("pyile://192.168.1.66/KEYx", InviteError::Key),
            ("pyile://192.168.1.66/KEY#", InviteError::Pass),
            ("pyile://192.168.1.66/KEY#vov2", InviteError::Pass),
            ("pyile://192.168.1.66/KEY#vov2xk5lvov2xk5lvov2xk5lvmaa", InviteError::Pass),
        ] {
            assert_eq!(read(text), error, "{text}");
        }
        assert_eq!(read(&format!("pyile://{}", "9".repeat(10_000))), InviteError::Form);
        // A host may be called so.
        for host in ["pyile", "pyile:4702", "PYILE.local:1"] {
            assert_eq!(host.parse(), Ok(JoinTarget::Host(host.to_owned())));
        }
        let classic = PeerId::of_address("10.0.0.1:5000".parse().unwrap());
        assert_eq!(format!("pyile://10.0.0.1/{classic}").parse::<Invite>(), Err(InviteError::Key));
    }

    #[test]
    fn a_pass_is_in_no_debug_output() {
        let invite = invite(&["192.168.1.66:4702"], Some(Pass::new(*b"sesame, open up!")));
        let shown = format!("{invite:?} {:?}", JoinTarget::Invite(Box::new(invite.clone())));
        let letters = invite.link().split_once('#').unwrap().1.to_owned();
        assert!(
            !shown.contains("sesame") && !shown.contains(&letters) && !shown.contains("115, 101"),
            "{shown}"
        );
    }
}
