//! Invites: the host makes them and takes them back, a joiner pastes one.

use super::{Effect, State, ToastKind, toast};
use crate::{
    api::{InviteInfo, NodeCommand},
    app::{
        invite::{InviteCard, time_left},
        keymap::Action,
        layer::{Dialog, Layer, Pending},
    },
    model::Invite,
};

/// An invite was made: it is shown, to be given to somebody.
pub(super) fn show(state: &mut State, invite: Invite, info: Option<InviteInfo>) -> Vec<Effect> {
    state.layers.push(Layer::Invite(Box::new(InviteCard::new(invite, info))));
    Vec::new()
}

pub(super) fn action(state: &mut State, action: Action) -> Vec<Effect> {
    match (action, state.layers.last_mut()) {
        (Action::Copy, Some(Layer::Invite(card))) => {
            card.is_copied = true;
            return vec![Effect::Copy(card.invite.link().to_string())];
        }
        (Action::Close, _) => _ = state.layers.pop(),
        _ => {}
    }
    Vec::new()
}

/// Asks whether an invite is to be taken back.
pub(super) fn ask_revoke(state: &mut State, info: &InviteInfo) {
    let uses = if info.uses == 1 { "one more".to_owned() } else { format!("{} more", info.uses) };
    let lines = vec![
        format!("It would let in {uses}, for {}.", time_left(info.until, state.now)),
        "Who came in by it stays in.".to_owned(),
    ];
    let title = format!("Take the invite {} back?", info.id);
    let pending = Pending::Revoke(info.id.clone());
    state.layers.push(Layer::Dialog(Dialog::new(title, lines, "Take back", pending)));
}

/// Takes back the invite that is called so, or all of them.
pub(super) fn revoke(state: &mut State, id: &str) -> Result<Vec<Effect>, String> {
    let invites = state.room().map(|room| room.door.invites.clone()).unwrap_or_default();
    if id == "all" && !invites.is_empty() {
        return Ok(vec![Effect::Node(NodeCommand::Revoke { invite: None })]);
    }
    let found = invites.iter().find(|info| info.id == id);
    ask_revoke(state, found.ok_or("there is no such invite; F3 shows all")?);
    Ok(Vec::new())
}

/// Something was pasted into the launch screen: an invite opens the form to join.
pub(super) fn pasted(state: &mut State, text: &str) {
    match text.parse::<Invite>() {
        Ok(invite) => super::launch::join_form(state, &invite.link()),
        Err(error) if Invite::is_meant(text) => toast(state, ToastKind::Error, &error.to_string()),
        Err(_) => toast(state, ToastKind::Info, "to join by an invite, paste all of it: pyile://…"),
    }
}
