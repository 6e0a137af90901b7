//! Who takes part: keys, aliases, roles and what the roster says of each peer.
//!
//! Presence is keyed by [`PeerId`], never by alias: an alias is only a label that the host enforces.

use std::{
    borrow::Cow,
    fmt,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    str::FromStr,
    sync::LazyLock,
};

use data_encoding::{BASE32_NOPAD, Encoding};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
use unicode_security::{
    GeneralSecurityProfile as _, MixedScript as _, RestrictionLevel, RestrictionLevelDetection as _,
    general_security_profile::IdentifierType,
};
use unicode_segmentation::UnicodeSegmentation as _;

use super::{
    bounded::at_most,
    limits,
    role::{Role, Wire},
    status::Status,
    text,
    time::Timestamp,
};

/// A peer's Ed25519 public key. Its text form is 52 base32 letters in lower case.
///
/// A classic peer has no key: the address of its peer listener stands for it, behind a mark of 26 bytes that nobody
/// could find a private key for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 32]);

/// An Ed25519 signature (RFC 8032).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature(#[serde(with = "serde_big_array::BigArray")] pub [u8; 64]);

/// What the id of a classic peer begins with.
const CLASSIC_MARK: &[u8; 26] = b"pyile classic peer address";

impl PeerId {
    /// The id of the classic peer that listens at `addr`.
    #[must_use]
    pub fn of_address(addr: SocketAddrV4) -> Self {
        let mut id = [0; 32];
        let (mark, rest) = id.split_at_mut(CLASSIC_MARK.len());
        mark.copy_from_slice(CLASSIC_MARK);
        let (ip, port) = rest.split_at_mut(4);
        ip.copy_from_slice(&addr.ip().octets());
        port.copy_from_slice(&addr.port().to_be_bytes());
        Self(id)
    }

    /// Where a classic peer listens; nothing for a key.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddrV4> {
        let [a, b, c, d, high, low] = *self.0.strip_prefix(CLASSIC_MARK)? else { return None };
        Some(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])))
    }

    /// How this peer speaks.
    #[must_use]
    pub fn wire(&self) -> Wire {
        if self.address().is_some() { Wire::Classic } else { Wire::Native }
    }

    /// The first eight letters in two groups, shown beside an alias: enough to tell two friends apart, not proof.
    /// For a classic peer its address, which is no proof either.
    #[must_use]
    pub fn short(&self) -> String {
        if let Some(addr) = self.address() {
            return addr.to_string();
        }
        let text = self.to_string();
        let (first, second) = (text.get(..4), text.get(4..limits::SHORT_KEY));
        format!("{}-{}", first.unwrap_or_default(), second.unwrap_or_default())
    }

    /// The whole key in groups of four, to compare by voice or side by side.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        if self.address().is_some() {
            return "classic: no key, in clear".to_owned();
        }
        let text = self.to_string();
        let groups: Vec<&str> =
            (0..text.len()).step_by(4).filter_map(|at| text.get(at..(at + 4).min(text.len()))).collect();
        groups.join("-")
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_NOPAD.encode(&self.0).to_ascii_lowercase())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for PeerId {
    type Err = data_encoding::DecodeError;

    /// Reads the text form; dashes and case do not matter.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const ENCODING: Encoding = BASE32_NOPAD;
        let letters: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_uppercase()).collect();
        let bytes = ENCODING.decode(letters.as_bytes())?;
        let key = bytes.try_into().map_err(|_| data_encoding::DecodeError {
            position: 0,
            kind: data_encoding::DecodeKind::Length,
        })?;
        Ok(Self(key))
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(|_| D::Error::custom("a peer_id is 52 base32 letters"))
        } else {
            <[u8; 32]>::deserialize(deserializer).map(Self)
        }
    }
}

/// Somebody who was a member, and how far its words to everyone count: what it signs beyond is nobody's word, whoever
/// hands it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departed {
    /// Who.
    pub peer: PeerId,
    /// Since when.
    pub at: Timestamp,
    /// Of each of its epochs the last number that the host has, at most [`limits::DEPARTED_EPOCHS`], the newest last.
    #[serde(deserialize_with = "at_most::<{ limits::DEPARTED_EPOCHS }, _, _>")]
    pub counts: Vec<(u64, u64)>,
    /// Where the newest message of the newest one stands there.
    #[serde(default)]
    pub newest: Timestamp,
    /// Its label, as far as the host knows it.
    #[serde(default)]
    pub alias: Option<Alias>,
    /// The host removed it: it does not come back by itself.
    #[serde(default)]
    pub is_out: bool,
}

impl Departed {
    /// True when messages up to `last` of an epoch count.
    #[must_use]
    pub fn counts(&self, epoch: u64, last: u64) -> bool {
        self.counts.iter().any(|(counted, up_to)| *counted == epoch && last <= *up_to)
    }
}

/// The label of a peer: 1 to 32 characters, each of them visible ASCII without spaces, a letter, digit or sign that UTS 39
/// allows in identifiers (section 3.1), or a whole emoji. Its letters are of one script, or of Latin and one other that is
/// neither Cyrillic nor Greek; Han goes with what is written beside it (UTS 39, section 5.2, "moderately restrictive").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Alias(String);

/// Why a text cannot be an alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// Nothing was given.
    #[error("an alias needs at least one visible character")]
    Empty,
    /// Too many characters.
    #[error("an alias has at most {max} characters, this one has {0}", max = limits::ALIAS_CHARACTERS)]
    TooLong(usize),
    /// Too many marks on one character.
    #[error("an alias has at most {max} marks on one letter", max = limits::CLUSTER_SCALARS - 1)]
    TooManyMarks,
    /// A space, a line break or a tab.
    #[error("an alias has no spaces; use - or _ instead")]
    Space,
    /// A control, bidirectional or invisible character.
    #[error("an alias has visible characters only; U+{0:04X} is not one")]
    Invisible(u32),
    /// No letter of a living script, no digit and no emoji.
    #[error("an alias is made of letters, digits, - _ . and emoji; U+{0:04X} is none of them")]
    NotALetter(u32),
    /// Letters of several scripts.
    #[error(
        "an alias is written in one script, or in Latin and one other that is neither Cyrillic nor Greek"
    )]
    MixedScripts,
    /// A word that commands use.
    #[error("\"everyone\" means all members; choose another alias")]
    Reserved,
    /// A first character that commands use.
    #[error("an alias cannot start with {0:?}")]
    FirstCharacter(char),
}

impl Alias {
    /// Takes `text` as an alias when it keeps the rules.
    pub fn new(text: &str) -> Result<Self, AliasError> {
        let characters = text.graphemes(true).count();
        let scalars = text.chars().count();
        match text.chars().next() {
            None => return Err(AliasError::Empty),
            Some(first @ ('/' | '@' | ':' | '-')) => return Err(AliasError::FirstCharacter(first)),
            Some(_) => {}
        }
        if characters > limits::ALIAS_CHARACTERS {
            return Err(AliasError::TooLong(characters));
        }
        for cluster in text.graphemes(true).filter(|cluster| emojis::get(cluster).is_none()) {
            cluster.chars().try_for_each(check_character)?;
        }
        if text::SafeText::clean(text).as_str() != text || scalars > 4 * limits::ALIAS_CHARACTERS {
            return Err(AliasError::TooManyMarks);
        }
        // A mark alone would stand on what is drawn before the alias.
        if let Some(first) = text.chars().next().filter(|c| is_combining_mark(*c)) {
            return Err(AliasError::NotALetter(u32::from(first)));
        }
        let others: String = text.graphemes(true).filter(|cluster| emojis::get(cluster).is_none()).collect();
        if !is_of_one_kind(&others) {
            return Err(AliasError::MixedScripts);
        }
        let alias = Self(text.to_owned());
        if alias.looks().are_like_text("everyone") { Err(AliasError::Reserved) } else { Ok(alias) }
    }

    /// An alias from a file of this program, which an older version may have written under other rules: what it may not
    /// contain any more is left out.
    fn kept(text: &str) -> Self {
        Self::new(text).unwrap_or_else(|_| {
            let is_good =
                |cluster: &&str| matches!(*cluster, "-" | "_" | "." | "\'") || Self::new(cluster).is_ok();
            let good: String = text.graphemes(true).filter(is_good).collect();
            Self::new(&good).unwrap_or_else(|_| Self("renamed".to_owned()))
        })
    }

    /// The alias that a classic peer gives itself, which knows no rules: spaces become dashes. Nothing when that is
    /// still no alias.
    #[must_use]
    pub fn claimed(text: &str) -> Option<Self> {
        Self::new(&text.split_whitespace().collect::<Vec<_>>().join("-")).ok()
    }

    /// What stands for the label of somebody of whom only the key is known: the start of it; of a classic peer the
    /// address.
    #[must_use]
    pub fn of_key(peer: &PeerId) -> Self {
        if let Some(addr) = peer.address() {
            return Self(addr.to_string());
        }
        Self(peer.to_string().chars().take(limits::SHORT_KEY).collect())
    }

    /// The alias.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when people could take one alias for the other.
    #[must_use]
    pub fn looks_like(&self, other: &Self) -> bool {
        self.looks().are_like(other)
    }

    /// What it is to the eye, to be compared with many.
    #[must_use]
    pub fn looks(&self) -> Looks {
        let text = whole_emoji(&self.0);
        Looks { skeleton: skeleton(&text), folded: folded(&text) }
    }
}

/// Whether a character may stand in an alias outside an emoji.
fn check_character(c: char) -> Result<(), AliasError> {
    if c.is_whitespace() {
        Err(AliasError::Space)
    } else if c.is_control() || text::is_invisible(c) || c == text::MARK {
        Err(AliasError::Invisible(u32::from(c)))
    } else if c.is_ascii() || spelled(c).all(|c| c.identifier_allowed() || is_living(c)) {
        Ok(())
    } else {
        Err(AliasError::NotALetter(u32::from(c)))
    }
}

/// A character as it is spelled in full: some that keyboards give stand for two, and only those two are in the tables.
fn spelled(c: char) -> impl Iterator<Item = char> {
    let two = match c {
        '\u{E33}' => Some(['\u{E4D}', '\u{E32}']),
        '\u{EB3}' => Some(['\u{ECD}', '\u{EB2}']),
        _ => None,
    };
    let one = two.is_none().then_some(c);
    two.into_iter().flatten().chain(one).nfc()
}

/// Letters of scripts that few people write, and rare letters that names have.
fn is_living(c: char) -> bool {
    matches!(c.identifier_type(), Some(IdentifierType::Limited_Use | IdentifierType::Uncommon_Use))
}

/// Whether letters are of one script, or of a mix that people know. ASCII signs are of no script.
fn is_of_one_kind(text: &str) -> bool {
    let mut letters: String = text.chars().filter(|c| !c.is_ascii()).flat_map(spelled).collect();
    if letters.is_empty() {
        return true;
    }
    if text.chars().any(|c| c.is_ascii_alphabetic()) {
        letters.push('a');
    }
    let letters = letters.as_str();
    letters.check_restriction_level(RestrictionLevel::ModeratelyRestrictive)
        || (letters.is_single_script() && letters.chars().all(|c| c.identifier_allowed() || is_living(c)))
}

/// What an alias is to the eye: its UTS 39 skeletons, with and without regard to case.
#[derive(Debug)]
pub struct Looks {
    skeleton: String,
    folded: String,
}

impl Looks {
    /// Both, to find names by; they do not mix.
    #[must_use]
    pub fn both(&self) -> [String; 2] {
        [format!("={}", self.skeleton), format!("~{}", self.folded)]
    }

    /// True when people could take one alias for the other.
    #[must_use]
    pub fn are_like(&self, other: &Alias) -> bool {
        self.are_like_text(&other.0)
    }

    fn are_like_text(&self, other: &str) -> bool {
        let other = whole_emoji(other);
        self.skeleton == skeleton(&other) || self.folded == folded(&other)
    }
}

/// The same text where each emoji is written in one way: with and without its selector it looks the same.
fn whole_emoji(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return text.into();
    }
    text.graphemes(true).map(|cluster| emojis::get(cluster).map_or(cluster, emojis::Emoji::as_str)).collect()
}

/// What a text is to the eye (UTS 39).
fn skeleton(text: &str) -> String {
    use unicode_security::confusable_detection::skeleton;
    // Of ASCII every character stands for itself alone; a network is full of such aliases, and a roster is read often.
    static ASCII: LazyLock<Vec<String>> = LazyLock::new(|| {
        (0..128).map(|c: u8| skeleton(char::from(c).encode_utf8(&mut [0; 4])).collect()).collect()
    });
    if text.is_ascii() {
        text.bytes().filter_map(|c| ASCII.get(usize::from(c))).map(String::as_str).collect()
    } else {
        skeleton(text).collect()
    }
}

/// The same without regard to case. The skeleton of a zero is a capital letter, hence the second round.
fn folded(text: &str) -> String {
    skeleton(&skeleton(&text.to_lowercase()).to_lowercase())
}

impl fmt::Display for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Alias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Alias {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let is_file = deserializer.is_human_readable();
        let text = String::deserialize(deserializer)?;
        if is_file { Ok(Self::kept(&text)) } else { Self::new(&text).map_err(D::Error::custom) }
    }
}

/// A peer as events show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// Its key.
    pub peer_id: PeerId,
    /// Its label in this network.
    pub alias: Alias,
    /// Its peer listener as best known here.
    pub addr: SocketAddr,
    /// Host or member.
    pub role: Role,
    /// How it speaks.
    pub wire: Wire,
    /// What it says of itself, such as that it is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
}

/// A peer as the host distributes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntry {
    /// Its key.
    pub peer_id: PeerId,
    /// Its label.
    pub alias: Alias,
    /// Host or member.
    pub role: Role,
    /// How it speaks.
    pub wire: Wire,
    /// Where its peer listener may be reached, best first; at most [`limits::CANDIDATES`]. The host may list an
    /// unspecified address: members then use the address at which they reached it.
    #[serde(deserialize_with = "at_most::<{ limits::CANDIDATES }, _, _>")]
    pub addrs: Vec<SocketAddr>,
    /// When it was first admitted: what came before is not for it, unless the host's policy says so.
    pub since: Timestamp,
    /// What it says of itself.
    #[serde(default)]
    pub status: Option<Status>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let id = PeerId([7; 32]);
        assert_eq!(id.to_string().len(), 52);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.fingerprint().parse(), Ok(id));
        assert_eq!(id.short().len(), 9);
        assert!("bob".parse::<PeerId>().is_err());
    }

    #[test]
    fn a_classic_peer_is_known_by_its_address() {
        let addr = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 66), 49_152);
        let id = PeerId::of_address(addr);
        assert_eq!((id.address(), id.wire()), (Some(addr), Wire::Classic));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.short(), "192.168.1.66:49152");
        assert_eq!(Alias::new(Alias::of_key(&id).as_str()).as_ref(), Ok(&Alias::of_key(&id)));
        assert_eq!((PeerId([7; 32]).address(), PeerId([7; 32]).wire()), (None, Wire::Native));
        assert_eq!(Alias::claimed(" Noah  B ").unwrap().as_str(), "Noah-B");
        assert_eq!(Alias::claimed("every\tone").unwrap().as_str(), "every-one");
        for bad in ["", "  ", "\u{202E}bob", "everyone", "/ban"] {
            assert_eq!(Alias::claimed(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn alias_rules() {
        for good in ["bob", "ann-marie", "日本", "x", &"a".repeat(32), "Zoë", "o'neil"] {
            assert!(Alias::new(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", AliasError::Empty),
            ("a b", AliasError::Space),
            ("a\u{202E}b", AliasError::Invisible(0x202E)),
            ("a\x1b", AliasError::Invisible(0x1B)),
            (&"a".repeat(33), AliasError::TooLong(33)),
            (&format!("e{}", "\u{301}".repeat(28)), AliasError::TooManyMarks),
            (&"e\u{301}\u{302}\u{303}\u{304}".repeat(30), AliasError::TooManyMarks),
            ("everyone", AliasError::Reserved),
            ("/ban", AliasError::FirstCharacter('/')),
        ] {
            assert_eq!(Alias::new(bad), Err(why), "{bad:?}");
        }
        assert!(Alias::new(&format!("a{}", "\u{301}".repeat(100))).is_err(), "a tall stack of accents");
    }

    #[test]
    fn an_alias_is_what_can_be_seen_and_typed() {
        for good in [
            "Дмитрий",
            "Ελένη",
            "יעל",
            "ليلى",
            "देवी",
            "தமிழ்",
            "สมชาย",
            "ខ្មែរ",
            "田中さん",
            "김철수",
            "Tanaka田中",
            "አበበ",
            "Ðorđe",
            "bob🦊",
            "👩‍🚀",
            "👨‍👩‍👧",
            "❤️",
            "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
            "a.b_c-1",
            "สำราญ",
            "ຄຳ",
            "জয়",
            "ਸ਼ਰਮਾ",
            "山﨑",
            "濵田",
            "𠮷野",
            "ᐃᓄᒃ",
            "ᏣᎳᎩ",
            "ⵜⵉⴼ",
            "Zoë!",
            "José+1",
        ] {
            assert_eq!(Alias::new(good).map(|alias| alias.to_string()), Ok(good.to_owned()));
        }
        // A blank of braille, an invisible operator, signs of music and of hieroglyphs that only format, a private character,
        // an object's place, a filler, an enclosing ring, a dead script, letters for mathematics.
        for bad in [
            "bob\u{2800}",
            "bob\u{2062}",
            "bob\u{1D173}",
            "bob\u{13430}",
            "bob\u{E000}",
            "bob\u{FFFC}",
            "bob\u{3164}",
            "bob\u{20DD}",
            "\u{12000}",
            "𝐛𝐨𝐛",
            "\u{2800}\u{2800}",
            "\u{301}bob",
            "bob\u{FE0F}",
            "bob\u{200D}",
            "🦊\u{200D}",
            "bob\u{E0062}",
            "bob\u{FF42}",
        ] {
            assert!(Alias::new(bad).is_err(), "{bad:?}");
        }
        assert_eq!(Alias::new("bob\u{2800}"), Err(AliasError::NotALetter(0x2800)));
        for mixed in ["bоb", "Everyоne", "αlex", "Дmitry", "ann안Я"] {
            assert_eq!(Alias::new(mixed), Err(AliasError::MixedScripts));
        }
    }

    #[test]
    fn an_alias_that_older_rules_allowed_does_not_make_a_file_unreadable() {
        for (text, kept) in
            [("bob\u{2800}", "bob"), ("bоb", "renamed"), ("\u{2800}", "renamed"), ("ann", "ann")]
        {
            let json = serde_json::to_string(text).unwrap();
            assert_eq!(serde_json::from_str::<Alias>(&json).unwrap().as_str(), kept);
            let wire = postcard::to_stdvec(text).unwrap();
            assert_eq!(postcard::from_bytes::<Alias>(&wire).is_ok(), text == kept);
        }
    }

    #[test]
    fn look_alikes() {
        let alias = |text| Alias::new(text).unwrap();
        assert!(alias("bob").looks_like(&alias("b0b")) && alias("B0B").looks_like(&alias("bob")));
        assert!(alias("рос").looks_like(&alias("poc")), "Cyrillic letters");
        assert!(alias("bob❤").looks_like(&alias("bob❤\u{FE0F}")), "an emoji with and without its selector");
        assert!(alias("Ian").looks_like(&alias("lan")) && alias("ann").looks_like(&alias("aNn")));
        assert!(alias("Bob").looks_like(&alias("bob")));
        assert!(!alias("bob").looks_like(&alias("rob")));
        let printable: String = (' '..='~').collect();
        let whole: String = unicode_security::confusable_detection::skeleton(&printable).collect();
        assert_eq!(skeleton(&printable), whole);
    }
}
