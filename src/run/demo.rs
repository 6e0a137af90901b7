//! A network on this machine: this process hosts, and three small bots in it join over real sockets, with real
//! admission, as any peer would.

use std::{net::Ipv4Addr, time::Duration};

use tokio::{task::JoinSet, time};

use crate::{
    api::{NodeEvent, Target},
    model::{Alias, CloseReason, Closed, Password, Policy, Recipient},
    net,
    network::{Events, HostOptions, JoinOptions, Network},
    security::PasswordCost,
    store::Profile,
};

/// The bots; they leave when this is dropped.
#[derive(Debug)]
pub struct Bots {
    _tasks: JoinSet<()>,
}

/// A bot: its name, what it says at first, and how it answers.
struct Character {
    name: &'static str,
    greeting: &'static str,
    answer: fn(&str, &str) -> String,
}

const CAST: [Character; 3] = [
    Character {
        name: "ada",
        greeting: "hello! say something to everyone, or press Ctrl-N to talk to one of us alone",
        answer: |from, text| format!("{from}, you said {} words", text.split_whitespace().count()),
    },
    Character { name: "echo", greeting: "hi. I repeat what I am told", answer: |_, text| text.to_owned() },
    Character {
        name: "spam",
        greeting: "BUY NOW! (press F3, choose me, and ban me with b)",
        answer: |_, _| "BUY NOW! Best prices!".to_owned(),
    },
];

/// Opens the network and lets the bots join.
pub async fn open(alias: Alias) -> Result<(Network, Events, Bots), Closed> {
    let alias = if CAST.iter().any(|bot| alias.as_str().eq_ignore_ascii_case(bot.name)) {
        Alias::new("you").unwrap_or(alias)
    } else {
        alias
    };
    let internal = |error: &dyn std::fmt::Display| Closed::new(CloseReason::Internal, error.to_string());
    let password = Password::new(data_encoding::HEXLOWER.encode(&net::seed()));
    let options = HostOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        network: Some("demo".to_owned()),
        policy: Policy::default(),
        cost: COST,
        ..HostOptions::new(alias, password.clone())
    };
    let profile = Profile::ephemeral().map_err(|error| internal(&error))?;
    let (network, events) = Network::host(options, profile).await?;
    let target = network.join_addr().map(|addr| addr.to_string()).unwrap_or_default();
    let mut tasks = JoinSet::new();
    for (turn, bot) in (0_u32..).zip(CAST) {
        let alias = Alias::new(bot.name).map_err(|error| internal(&error))?;
        let options = JoinOptions {
            cost: COST,
            rejoin_for: Duration::ZERO,
            ..JoinOptions::new(&target, alias, password.clone())
        };
        let profile = Profile::ephemeral().map_err(|error| internal(&error))?;
        tasks.spawn(async move {
            time::sleep(Duration::from_millis(300) * turn).await;
            if let Ok((network, events)) = Network::join(options, profile) {
                chat(network, events, bot).await;
            }
        });
    }
    Ok((network, events, Bots { _tasks: tasks }))
}

/// The password is drawn at random and lives in this process only: a costly guess would protect nothing.
const COST: PasswordCost = PasswordCost { memory: 1024, passes: 1 };

async fn chat(network: Network, mut events: Events, bot: Character) {
    while let Some(event) = events.next().await {
        match event {
            NodeEvent::Authenticated { .. } => {
                time::sleep(Duration::from_millis(700)).await;
                let _ = network.broadcast(bot.greeting).await;
            }
            NodeEvent::Message { from, to, text, own: false, .. }
                if from.role == crate::model::Role::Host =>
            {
                time::sleep(Duration::from_millis(400)).await;
                let answer = (bot.answer)(from.alias.as_str(), text.as_str());
                let addressed = text.as_str().to_lowercase().contains(bot.name);
                let to = match to {
                    Recipient::Peer(_) => Target::Peer(from.peer_id.into()),
                    Recipient::Everyone if addressed || bot.name == "ada" => Target::Everyone,
                    Recipient::Everyone => continue,
                };
                let _ = network.send(to, answer).await;
            }
            _ => {}
        }
    }
}
