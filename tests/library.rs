//! The library as a program of somebody else uses it: a handle that answers, and events that nobody has to read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod support;

use pyile::{
    Events, HostOptions, JoinOptions, Network, Profile,
    api::NodeEvent,
    model::{Alias, CloseReason, CommandError, Password, Policy, Recipient, SendError},
    security::PasswordCost,
};
use support::DEADLINE;
use tokio::time::timeout;

async fn host() -> (Network, Events) {
    let options = HostOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        cost: PasswordCost::TEST,
        policy: Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() },
        ..HostOptions::new(Alias::new("host").unwrap(), Password::new("open sesame".into()))
    };
    Network::host(options, Profile::ephemeral().unwrap()).await.unwrap()
}

async fn join(host: &Network, alias: &str) -> (Network, Events) {
    let target = host.join_addr().unwrap().to_string();
    let options = JoinOptions {
        cost: PasswordCost::TEST,
        ..JoinOptions::new(&target, Alias::new(alias).unwrap(), Password::new("open sesame".into()))
    };
    let (network, mut events) = Network::join(options, Profile::ephemeral().unwrap()).unwrap();
    until(&mut events, |event| matches!(event, NodeEvent::Authenticated { .. })).await;
    (network, events)
}

async fn until(events: &mut Events, is_it: impl Fn(&NodeEvent) -> bool) -> NodeEvent {
    loop {
        let event = timeout(DEADLINE, events.next()).await.unwrap().unwrap();
        if is_it(&event) {
            return event;
        }
    }
}

async fn message(events: &mut Events) -> NodeEvent {
    until(events, |event| matches!(event, NodeEvent::Message { own: false, .. })).await
}

#[tokio::test]
async fn whoever_sends_is_given_the_number_under_which_it_arrives() {
    let (host, _at_host) = host().await;
    let (ann, mut at_ann) = join(&host, "ann").await;
    let me = host.members().await.unwrap()[0].peer_id;
    // From several tasks at once: each has its own clone, and its own number.
    let sends: Vec<_> = (0..50)
        .map(|number| {
            let host = host.clone();
            tokio::spawn(async move { (host.broadcast(format!("{number}")).await.unwrap(), number) })
        })
        .collect();
    let mut sent = Vec::new();
    for send in sends {
        sent.push(send.await.unwrap());
    }
    sent.sort_unstable();
    for (given, number) in sent {
        let NodeEvent::Message { id, text, .. } = message(&mut at_ann).await else { panic!() };
        assert_eq!((id, text.as_str()), (given, number.to_string().as_str()));
    }
    let alone = ann.send(me, "for you alone").await.unwrap();
    assert_eq!((alone.to, alone.sequence), (Recipient::Peer(me), 1));
}

#[tokio::test]
async fn what_is_not_done_is_answered_with_the_reason() {
    let (host, _at_host) = host().await;
    let (ann, mut at_ann) = join(&host, "ann").await;
    assert_eq!(host.broadcast("").await, Err(SendError::Empty));
    let nobody = host.send(pyile::api::PeerName::from("nobody"), "hello").await;
    assert_eq!(nobody, Err(SendError::NoSuchMember("nobody".to_owned())));
    assert_eq!(ann.ban("host", "").await, Err(CommandError::NotTheHost));
    assert_eq!(host.kick("nobody", "").await, Err(CommandError::Unknown("nobody".to_owned())));
    assert!(matches!(host.ban("host", "").await, Err(CommandError::Yourself(_))));
    let names = |peers: Vec<std::sync::Arc<pyile::model::Peer>>| {
        peers.iter().map(|peer| peer.alias.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(host.members().await.unwrap()), ["host", "ann"]);
    // In force when it is answered.
    host.ban("ann", "spam").await.unwrap();
    assert_eq!(names(host.members().await.unwrap()), ["host"]);
    let banned = until(&mut at_ann, |event| matches!(event, NodeEvent::Left { .. })).await;
    assert!(matches!(banned, NodeEvent::Left { reason: CloseReason::Banned, .. }));
    assert_eq!(at_ann.next().await, None);
    // The session is over, and says so.
    assert_eq!(ann.leave().await.reason, CloseReason::Banned);
    assert_eq!(ann.broadcast("hello?").await, Err(SendError::NotConnected));
    assert_eq!(ann.members().await, Err(CommandError::Ended));
}

#[tokio::test]
async fn a_program_that_reads_no_events_holds_up_nobody_and_leaves_at_once() {
    let (host, at_host) = host().await;
    drop(at_host);
    let (ann, at_ann) = join(&host, "ann").await;
    let (bob, mut at_bob) = join(&host, "bob").await;
    for number in 0..2_000 {
        ann.broadcast(format!("{number} {}", "x".repeat(1_000))).await.unwrap();
    }
    for number in 0..2_000 {
        let NodeEvent::Message { text, .. } = message(&mut at_bob).await else { panic!() };
        assert!(text.as_str().starts_with(&format!("{number} ")), "in order, each once");
    }
    for network in [ann, bob, host] {
        assert_eq!(timeout(DEADLINE, network.leave()).await.unwrap().reason, CloseReason::Left);
    }
    // What was not read is there still, its end too.
    let mut at_ann = at_ann;
    until(&mut at_ann, |event| matches!(event, NodeEvent::Left { .. })).await;
    assert_eq!(at_ann.next().await, None);
}
