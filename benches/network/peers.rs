//! Peers of this benchmark, here and in processes of their own.

use std::{
    io::BufRead as _,
    time::{Duration, Instant},
};

use pyile::{
    Events, HostOptions, JoinOptions, Network, Profile,
    api::{NodeCommand, NodeEvent, Target},
    model::{Alias, DeliveryStatus, Password, Policy},
    security::PasswordCost,
    store::{Keeping, Retention},
};
use tokio::{runtime::Runtime, task::JoinSet};

use super::{TEXT, median, next, raw};

fn password() -> Password {
    Password::new("open sesame".into())
}

/// The directories stay until the build's are deleted: a temporary one may be no disk at all.
fn profile(disk: bool) -> Profile {
    if disk {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep().join("profile");
        Profile::open(&dir, Keeping::OnDisk(Retention::default())).unwrap()
    } else {
        Profile::ephemeral().unwrap()
    }
}

pub(super) fn host(runtime: &Runtime, disk: bool) -> (Network, Events) {
    let options = HostOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        cost: PasswordCost::TEST,
        members: 300,
        policy: Policy { rate: 0, burst: 0, rate_bytes: 0, ..Policy::default() },
        ..HostOptions::new(Alias::new("host").unwrap(), password())
    };
    runtime.block_on(Network::host(options, profile(disk))).unwrap()
}

pub(super) fn target(host: &Network) -> String {
    host.join_addr().unwrap().to_string()
}

fn join(target: &str, alias: &str, disk: bool) -> (Network, Events) {
    let options = JoinOptions {
        cost: PasswordCost::TEST,
        ..JoinOptions::new(target, Alias::new(alias).unwrap(), password())
    };
    Network::join(options, profile(disk)).unwrap()
}

fn to_all(text: String) -> NodeCommand {
    NodeCommand::Send { to: Target::Everyone, text, reference: None }
}

/// One message to everybody, so that all links are open.
pub(super) async fn warm(host: &Network, events: &mut Events, members: usize) {
    broadcast(host, events, members, 1).await;
}

/// Sends as fast as it is taken, until everybody has acknowledged everything.
pub(super) async fn broadcast(host: &Network, events: &mut Events, members: usize, messages: usize) {
    let (mut said, mut delivered) = (0, 0);
    let text = "x".repeat(TEXT);
    while delivered < members * messages {
        while said < messages && host.try_command(to_all(text.clone())).is_ok() {
            said += 1;
        }
        let mut event = events.next_whole().await;
        while let Some(now) = event {
            if let NodeEvent::Progress(progress) = now {
                assert_ne!(progress.status, DeliveryStatus::Failed, "{:?}", progress.reason);
                if progress.status == DeliveryStatus::Delivered {
                    delivered += usize::try_from(progress.last - progress.first + 1).unwrap();
                }
            }
            event = events.try_next_whole();
        }
    }
}

pub(super) async fn ping_pong(host: &Network, events: &mut Events, times: usize) -> Duration {
    let to = next(events, |event| match event {
        NodeEvent::PeerUp { peer } => Some(peer.peer_id),
        _ => None,
    })
    .await;
    let mut took = Vec::new();
    let text = "x".repeat(TEXT);
    for _ in 0..times {
        let begun = Instant::now();
        host.command(NodeCommand::Send { to: to.into(), text: text.clone(), reference: None }).await;
        next(events, |event| matches!(event, NodeEvent::Batch(said) if !said.own).then_some(())).await;
        took.push(begun.elapsed() / 2);
    }
    median(took)
}

async fn echo(target: &str, disk: bool) {
    let (peer, mut events) = join(target, "echo", disk);
    next(&mut events, |event| matches!(event, NodeEvent::Authenticated { .. }).then_some(())).await;
    println!("joined");
    loop {
        let (to, text) = next(&mut events, |event| match event {
            NodeEvent::Batch(said) if !said.own => {
                Some((said.from.peer_id, said.batch.batch.texts[0].clone()))
            }
            _ => None,
        })
        .await;
        let text = text.as_str().to_owned();
        peer.command(NodeCommand::Send { to: to.into(), text, reference: None }).await;
    }
}

/// So many members in one process: says when all know all, and when all have heard everything.
async fn members(count: usize, target: &str, disk: bool, messages: usize) {
    let mut joining = JoinSet::new();
    for number in 0..count {
        let (member, mut events) = join(target, &format!("member-{number:03}"), disk);
        joining.spawn(async move {
            next(&mut events, |event| match event {
                NodeEvent::Roster { peers, .. } => (peers.len() == count + 1).then_some(()),
                _ => None,
            })
            .await;
            (member, events)
        });
    }
    let members = joining.join_all().await;
    println!("joined");
    let mut hearing = JoinSet::new();
    for (member, mut events) in members {
        hearing.spawn(async move {
            let mut heard = 0;
            while heard < messages as u64 {
                heard += next(&mut events, |event| match event {
                    NodeEvent::Batch(said) if !said.own => Some(said.last - said.first + 1),
                    _ => None,
                })
                .await;
            }
            (member, events)
        });
    }
    let mut members = hearing.join_all().await;
    println!("received");
    // They stay until this process is ended.
    let mut staying = JoinSet::new();
    while let Some((member, mut events)) = members.pop() {
        staying.spawn(async move {
            while events.next().await.is_some() {}
            drop(member);
        });
    }
    staying.join_all().await;
}

/// Members that come and go, each after the one before.
async fn one_by_one(count: usize, target: &str) {
    for number in 0..count {
        let (member, mut events) = join(target, &format!("member-{number:03}"), false);
        next(&mut events, |event| matches!(event, NodeEvent::Authenticated { .. }).then_some(())).await;
        member.leave().await;
    }
    println!("done");
    std::future::pending::<()>().await;
}

/// A host that says one thing to everybody when it is told to.
async fn lone_host() {
    let options = HostOptions {
        listen: "127.0.0.1:0".parse().unwrap(),
        cost: PasswordCost::TEST,
        members: 300,
        ..HostOptions::new(Alias::new("host").unwrap(), password())
    };
    let (host, mut events) = Network::host(options, profile(false)).await.unwrap();
    println!("listening {}", target(&host));
    let (tx, mut words) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for _ in std::io::stdin().lock().lines() {
            let _ = tx.blocking_send(());
        }
    });
    loop {
        tokio::select! {
            Some(()) = words.recv() => host.command(to_all("hello".into())).await,
            Some(_) = events.next() => {}
            else => return,
        }
    }
}

pub(super) async fn child(args: &[String]) {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse().unwrap();
    match words[..] {
        ["raw-echo", target] => raw::echo(target).await,
        ["raw-members", count, target, messages] => {
            let members = (0..number(count)).map(|_| raw::member(target.to_owned(), number(messages)));
            members.collect::<JoinSet<()>>().join_all().await;
            std::future::pending::<()>().await;
        }
        ["echo", target, keeping] => echo(target, keeping == "disk").await,
        ["members", count, target, keeping, messages] => {
            members(number(count), target, keeping == "disk", number(messages)).await;
        }
        ["one-by-one", count, target] => one_by_one(number(count), target).await,
        ["host"] => lone_host().await,
        _ => panic!("no such child: {args:?}"),
    }
}
