//! Somebody who runs pyile on a simulated machine: begins, obeys, and begins again when the machine does.

use std::{
    collections::VecDeque,
    net::IpAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use pyile::{
    Events, HostOptions, JoinOptions, Network,
    api::NodeCommand,
    model::{Alias, CloseReason, Closed, Password, Policy},
    security::PasswordCost,
};
use tokio::{sync::Notify, time};

use crate::{
    book::{Book, HOST, may_try_again},
    disk,
    platform::{Outages, SimPlatform},
};

/// What somebody is to do.
#[derive(Debug, Clone)]
pub(crate) enum Order {
    Begin,
    Leave,
    Command(NodeCommand),
}

pub(crate) struct Person {
    pub(crate) who: usize,
    pub(crate) name: String,
    pub(crate) password: &'static str,
    pub(crate) dir: PathBuf,
    pub(crate) seed: u64,
    pub(crate) host: IpAddr,
    pub(crate) members: usize,
    /// Seconds for which members go on without the host; nothing = as it is by default.
    pub(crate) grace: Option<u32>,
    pub(crate) outages: Outages,
    pub(crate) state: Mutex<State>,
    pub(crate) changed: Notify,
}

/// What a person wants now.
#[derive(Default)]
pub(crate) struct State {
    wants_in: bool,
    sessions: u64,
    orders: VecDeque<Order>,
}

impl Person {
    /// Gives an order. What is asked of somebody who is not in is forgotten.
    pub(crate) fn order(&self, order: Order) {
        let mut state = self.state.lock().unwrap();
        match order {
            Order::Begin => state.wants_in = true,
            Order::Leave => {
                state.wants_in = false;
                state.orders.push_back(Order::Leave);
            }
            Order::Command(_) => state.orders.push_back(order),
        }
        self.changed.notify_one();
    }

    pub(crate) fn wants_in(&self) -> bool {
        self.state.lock().unwrap().wants_in
    }

    /// Lives until the machine goes down.
    pub(crate) async fn live(self: Arc<Self>, book: Arc<Mutex<Book>>, ip: IpAddr) {
        loop {
            let wants_in = {
                let mut state = self.state.lock().unwrap();
                state.orders.clear();
                state.wants_in
            };
            if !wants_in {
                self.changed.notified().await;
                continue;
            }
            let end = self.session(&book, ip).await;
            if may_try_again(end) {
                // A person who cannot get through tries again.
                time::sleep(Duration::from_secs(1)).await;
            } else {
                self.state.lock().unwrap().wants_in = false;
            }
        }
    }

    fn next_seed(&self) -> [u8; 32] {
        let mut state = self.state.lock().unwrap();
        state.sessions += 1;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(self.who as u64).to_le_bytes());
        seed[16..24].copy_from_slice(&state.sessions.to_le_bytes());
        seed
    }

    async fn session(&self, book: &Mutex<Book>, ip: IpAddr) -> CloseReason {
        let seed = self.next_seed();
        let profile = loop {
            match disk::open(&self.dir, seed) {
                Ok(profile) => break profile,
                // The last session is still writing.
                Err(pyile::store::StoreError::InUse { .. }) => time::sleep(Duration::from_millis(10)).await,
                Err(error) => panic!("{}: {error}", self.name),
            }
        };
        book.lock().unwrap().begin(self.who, profile.identity().peer_id());
        let platform = Arc::new(SimPlatform::new(ip, self.outages.clone(), seed));
        let alias = Alias::new(&self.name).unwrap();
        let password = Password::new(self.password.to_owned());
        let (hosts, has_handed_over) = (profile.host().is_some(), profile.retired().is_some());
        let opened = if hosts || self.who == HOST && !has_handed_over {
            let listen = (ip, 4702).into();
            let cost = PasswordCost::TEST;
            let members = self.members;
            let mut policy = Policy::default();
            policy.grace = self.grace.unwrap_or(policy.grace);
            let options = HostOptions { listen, cost, members, policy, ..HostOptions::new(alias, password) };
            Network::host_on(options, profile, platform).await
        } else {
            let moved = profile.recents().first().map(|known| known.target.clone());
            let target = moved.filter(|_| has_handed_over).unwrap_or_else(|| format!("{}:4702", self.host));
            let options =
                JoinOptions { cost: PasswordCost::TEST, ..JoinOptions::new(&target, alias, password) };
            Network::join_on(options, profile, platform)
        };
        match opened {
            Ok((network, events)) => self.run(book, network, events).await,
            Err(closed) => {
                let Closed { reason, detail } = closed;
                book.lock().unwrap().broken(self.who, &format!("cannot begin: {reason:?} {detail}"));
                reason
            }
        }
    }

    async fn run(&self, book: &Mutex<Book>, network: Network, mut events: Events) -> CloseReason {
        loop {
            tokio::select! {
                biased;
                event = events.next() => match event {
                    Some(event) => book.lock().unwrap().note(self.who, &event),
                    None => break,
                },
                () = self.changed.notified() => {}
            }
            loop {
                let order = self.state.lock().unwrap().orders.pop_front();
                match order {
                    Some(Order::Command(command)) => network.command(command).await,
                    Some(Order::Leave) => network.command(NodeCommand::Leave).await,
                    Some(Order::Begin) | None => break,
                }
            }
        }
        book.lock().unwrap().people[self.who].end.unwrap_or(CloseReason::Internal)
    }
}
