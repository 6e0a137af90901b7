//! The screen without a terminal: the reducer and the drawing under every key, every size, and hostile text.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

#[path = "../support/scene.rs"]
mod scene;

mod habits;
mod hosting;
mod launch;
mod looks;
mod pictures;
mod reading;
mod writing;

use std::{sync::Arc, time::Duration};

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use pyile::{
    api::{
        Check, Finding, HistoryCommand, HistoryEvent, Hit, LinkState, NodeCommand, NodeEvent, Part,
        StoreCommand, Target,
    },
    app::{
        Effect, Event, Open, Screen, State,
        keymap::{Action, Context, Keymap, TABLE},
        layer::Layer,
        room::{Focus, View},
        update,
    },
    model::{
        Alias, Answer, Applicant, CloseReason, Closed, DeliveryStatus, ErrorKind, FailReason, HistoryState,
        JoinTarget, KnownHost, Liveness, MessageId, NearbyNetwork, NetworkId, Page, Peer, PeerId, Penalty,
        Recipient, SafeText, Sighting, StoredMessage, Summary, Timestamp,
    },
};
use scene::{
    NOW, cast, choose, ctrl, draw, empty_room, history, invite, invited, key, launch, message, node, press,
    room, text, type_text,
};

fn shows(state: &State, words: &str) -> bool {
    text(&draw(state)).iter().any(|row| row.contains(words))
}

/// A state in which keys are pressed in this context.
fn state_in(context: Context) -> State {
    let mut state = match context {
        Context::Launch | Context::Form => launch((80, 24)),
        _ => room((80, 24)),
    };
    match context {
        Context::Form => choose(&mut state, "Host"),
        Context::Browse => _ = press(&mut state, KeyCode::Esc),
        Context::Admin => _ = press(&mut state, KeyCode::F(3)),
        Context::Log => _ = press(&mut state, KeyCode::F(5)),
        Context::Heartbeat => _ = press(&mut state, KeyCode::F(4)),
        Context::Dialog => _ = ctrl(&mut state, 'c'),
        Context::Prompt => _ = ctrl(&mut state, 'o'),
        Context::Help => _ = press(&mut state, KeyCode::F(1)),
        Context::Invite => invited(&mut state),
        Context::Launch | Context::Compose | Context::Room | Context::Everywhere => {}
    }
    assert!(state.contexts().contains(&context), "{context:?} in {:?}", state.contexts());
    state
}

/// Moves to the button that does it, which is the last, and presses it.
fn confirm(state: &mut State) -> Vec<Effect> {
    while let Some(Layer::Dialog(dialog)) = state.layers.last()
        && dialog.at + 1 < dialog.items.len()
    {
        press(state, KeyCode::Right);
    }
    press(state, KeyCode::Enter)
}

fn stored(from: &Arc<Peer>, sequence: u64, said: &str) -> StoredMessage {
    let minute = 60_000_000 * sequence.cast_signed();
    StoredMessage {
        id: MessageId { author: from.peer_id, epoch: 1, to: Recipient::Everyone, sequence },
        alias: from.alias.clone(),
        text: SafeText::clean(said),
        sent_at: Timestamp(minute),
        at: Timestamp(minute),
        place: minute,
        reference: None,
        claims: None,
        missed: 0,
        summary: Summary::default(),
        deliveries: Vec::new(),
    }
}

fn page_of(messages: Vec<StoredMessage>, is_first: bool, is_last: bool) -> Page {
    Page { conversation: Recipient::Everyone, messages, is_first, is_last }
}

fn text_of(state: &State) -> Vec<String> {
    text(&draw(state))
}

#[test]
fn every_row_of_the_keymap_fires_and_is_told() {
    for binding in TABLE {
        for context in binding.contexts {
            for bound in binding.keys.iter() {
                let mut state = state_in(*context);
                let contexts = state.contexts();
                let event = KeyEvent::new(bound.code, bound.modifiers);
                let found = state.keymap.action(&contexts, &event);
                // A closer context may bind the same key; then this row is not what fires here.
                let closer = contexts.iter().take_while(|other| *other != context).any(|other| {
                    TABLE.iter().any(|row| row.contexts.contains(other) && row.keys.contains(bound))
                });
                assert!(closer || found == Some(binding.action), "{bound} in {context:?}");
                update(&mut state, NOW, Event::Terminal(TerminalEvent::Key(event)));
                draw(&state);
            }
            let rows = Keymap::default().help(&[*context]);
            assert!(rows.iter().any(|(_, help)| *help == binding.help), "{} is in the help", binding.help);
        }
    }
}
