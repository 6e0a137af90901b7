//! What keys do on the launch screen and in its forms.

use super::{Action, Effect, State, ToastKind, open_asked};
use crate::{
    api::{Finding, NodeCommand, NodeEvent, StoreCommand},
    app::{
        Open, Screen,
        launch::{
            Choice, Launch,
            form::{FieldName, Form, Progress},
        },
        room::{Room, reachable},
    },
    model::{ErrorKind, Invite, JoinTarget, Role, Sighting, Wire},
};

pub(super) fn action(state: &mut State, action: Action) -> Vec<Effect> {
    if state.form_mut().is_some() {
        return form_action(state, action);
    }
    let Some(launch) = state.launch_mut() else { return Vec::new() };
    launch.message = None;
    match action {
        Action::Up => launch.step(false),
        Action::Down => launch.step(true),
        Action::Forget => {
            if let Choice::Recent(known) = launch.choice() {
                return vec![Effect::Store(StoreCommand::ForgetHost { target: known.target })];
            }
        }
        Action::Host => open_form(state, Form::to_host(&state.defaults)),
        Action::Join => join_form(state, ""),
        Action::Demo => return demo(launch),
        Action::Submit => match launch.choice() {
            Choice::Host => open_form(state, Form::to_host(&state.defaults)),
            Choice::Join => join_form(state, ""),
            Choice::Recent(known) => {
                let wire = known.peer_id.wire();
                // It may be somewhere else than the last time.
                let around = launch.around(&known.peer_id).map(|network| {
                    let mut invite = network.invite();
                    // What was right before is asked first: anybody may say where it is now.
                    invite.addrs.splice(0..0, known.target.parse());
                    invite.addrs = Invite::choose(invite.addrs);
                    invite.link().to_string()
                });
                let target = around.unwrap_or_else(|| known.target.clone());
                open_form(state, Form::to_join(&target, &known.alias, wire));
            }
            Choice::Nearby(key) => {
                if let Some(link) = launch.around(&key).map(|network| network.invite().link()) {
                    join_form(state, &link);
                }
            }
            Choice::Demo => return demo(launch),
        },
        _ => {}
    }
    Vec::new()
}

/// A network is around, or is not any more.
pub(super) fn sighted(state: &mut State, sighting: Sighting) -> Vec<Effect> {
    if let Some(launch) = state.launch_mut() {
        launch.sighted(sighting);
    }
    Vec::new()
}

/// Something was found at a host that could not be joined.
pub(super) fn found(state: &mut State, target: &str, finding: Finding) -> Vec<Effect> {
    if let Some(form) = state.form_mut() {
        form.found(target, finding);
    }
    Vec::new()
}

fn demo(launch: &mut Launch) -> Vec<Effect> {
    if std::mem::replace(&mut launch.opening, true) { Vec::new() } else { vec![Effect::Open(Open::Demo)] }
}

/// Asks what is still to be known to join the host at `target`, or by the invite that stands there.
pub(super) fn join_form(state: &mut State, target: &str) {
    let form = Form::to_join(target, &state.defaults.alias, Wire::Native);
    open_form(state, form);
}

fn open_form(state: &mut State, form: Form) {
    if let Some(launch) = state.launch_mut() {
        // What was typed before Esc stays, where it was for the same.
        let is_same = |left: &mut Form| left.kind == form.kind && left.asked_for == form.asked_for;
        launch.form = Some(launch.left.take_if(is_same).unwrap_or(form));
    }
}

fn form_action(state: &mut State, action: Action) -> Vec<Effect> {
    let Some(form) = state.form_mut() else { return Vec::new() };
    if form.progress != Progress::Editing {
        // Only giving up is possible now.
        return if action == Action::Close { vec![Effect::Node(NodeCommand::Leave)] } else { Vec::new() };
    }
    let count = form.fields.len().max(1);
    match action {
        Action::Next => form.at = (form.at + 1) % count,
        Action::Previous => form.at = (form.at + count - 1) % count,
        Action::Reveal => form.revealed = !form.revealed,
        Action::Submit if !form.is_at_end() => form.at += 1,
        Action::Submit => {
            if let Some(asked) = form.submit() {
                return open_asked(state, asked);
            }
        }
        Action::Close => {
            if let Some(launch) = state.launch_mut() {
                launch.left = launch.form.take();
            }
        }
        _ => {}
    }
    Vec::new()
}

/// While a network is being opened from the launch screen.
pub(super) fn opening(state: &mut State, event: NodeEvent) -> Vec<Effect> {
    match event {
        NodeEvent::Listening { role, join_addr, peer_addr, peer_id, alias, network, network_id } => {
            let target = state.form_mut().map(|form| {
                let target = form.fields.iter().find(|field| field.name == FieldName::Target);
                // Of an invite only the first place that it names.
                let target = target.and_then(|field| field.value.text().parse::<JoinTarget>().ok());
                target.map(|target| target.host()).unwrap_or_default()
            });
            let shown =
                join_addr.map(|addr| reachable(addr, peer_addr).to_string()).or(target).unwrap_or_default();
            let mut room = Room::new(peer_id, role, alias.to_string(), network, network_id, shown);
            room.in_sight = state.in_sight;
            room.verified.clone_from(&state.verified);
            room.password = state.defaults.offered.take().filter(|_| role == Role::Host);
            let open = room.open_history();
            state.screen = Screen::Room(Box::new(room));
            state.layers.clear();
            state.defaults.alias = alias;
            return vec![Effect::Store(open)];
        }
        // Of a network whose host is away, and was so from the beginning.
        NodeEvent::Deputy { peer: Some(_) } => super::admin::offer_take_over(state),
        NodeEvent::Error { kind: ErrorKind::Command, message, .. } => {
            super::toast(state, ToastKind::Error, message.as_str());
        }
        NodeEvent::Link { message, .. } => {
            if let Some(form) = state.form_mut() {
                form.progress = Progress::Opening(message.to_string());
            }
        }
        _ => {}
    }
    Vec::new()
}
