//! An invite as it is shown to whoever made it: the line to give away, and the same as a QR code.

use std::fmt;

use qrcode::{EcLevel, QrCode};
use zeroize::Zeroizing;

use crate::{
    api::InviteInfo,
    model::{Invite, Timestamp, limits},
};

/// Light modules around a code, of which readers need some.
pub const QUIET: usize = 2;

/// An invite that was made just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteCard {
    /// The invite.
    pub invite: Invite,
    /// What the host knows of its pass; nothing where it has none.
    pub info: Option<InviteInfo>,
    /// The same to be read by a camera; nothing when it does not fit a screen.
    pub code: Option<Code>,
    /// It was copied.
    pub is_copied: bool,
}

/// A QR code. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    /// Modules of a side.
    pub side: usize,
    dark: Zeroizing<Vec<bool>>,
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({})", self.side)
    }
}

impl Code {
    /// The code of an invite, small enough for a screen of 80 by 24: with as many of its addresses as there is room for.
    #[must_use]
    pub fn of(invite: &Invite) -> Option<Self> {
        (1..=invite.addrs.len()).rev().find_map(|count| {
            let addrs = invite.addrs.iter().take(count).copied().collect();
            let link = Invite { addrs, ..invite.clone() }.link();
            // Capital letters take less room, and mean the same.
            let text = Zeroizing::new(link.to_ascii_uppercase());
            [EcLevel::M, EcLevel::L].into_iter().find_map(|level| {
                let code = QrCode::with_error_correction_level(text.as_bytes(), level).ok()?;
                let side = code.width();
                let colors = code.into_colors();
                let dark =
                    Zeroizing::new(colors.into_iter().map(|color| color == qrcode::Color::Dark).collect());
                (side <= limits::QR_SIDE).then_some(Self { side, dark })
            })
        })
    }

    /// True for a dark module, counted with the light ones around the code.
    #[must_use]
    pub fn is_dark(&self, x: usize, y: usize) -> bool {
        let (Some(x), Some(y)) = (x.checked_sub(QUIET), y.checked_sub(QUIET)) else { return false };
        x < self.side && self.dark.get(y * self.side + x).copied().unwrap_or(false)
    }
}

impl InviteCard {
    /// The card of an invite.
    #[must_use]
    pub fn new(invite: Invite, info: Option<InviteInfo>) -> Self {
        let code = Code::of(&invite);
        Self { invite, info, code, is_copied: false }
    }
}

/// How long something still lasts, in words.
#[must_use]
pub fn time_left(until: Timestamp, now: Timestamp) -> String {
    let minutes = until.since(now).as_secs().div_ceil(60);
    match minutes {
        0..=90 => format!("{minutes} min"),
        91..=2880 => format!("{} h", minutes.div_ceil(60)),
        _ => format!("{} days", minutes.div_ceil(24 * 60)),
    }
}
