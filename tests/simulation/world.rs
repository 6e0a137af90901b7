//! A whole network on simulated machines, and what happens to it: everything follows from the seed.

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use pyile::api::{NodeCommand, PeerName, Target};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore as _, SeedableRng as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use turmoil::Sim;

use crate::{
    book::{Book, HOST, Record},
    person::{Order, Person},
    platform::Outages,
};

/// Who does not know the password.
const STRANGER: usize = 1;
/// Whom the host names its deputy.
const DEPUTY: usize = 2;
/// Seconds for which members go on without a host that has a deputy.
const GRACE: u32 = 5;
const PASSWORD: &str = "open sesame";
const TICK: Duration = Duration::from_millis(2);

/// How large a network is and how long its troubles last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// People, the host and one who does not know the password among them.
    pub(crate) people: usize,
    pub(crate) machines: usize,
    pub(crate) trouble: Duration,
    pub(crate) acts: usize,
    /// Time until all must be well again afterwards.
    pub(crate) calm: Duration,
    /// Profiles are copied, and put back from their copies.
    pub(crate) copies: bool,
    /// The host goes down until all is calm, and its deputy opens the network again.
    pub(crate) deputy: bool,
}

/// What happens to people and machines.
#[derive(Debug, Clone)]
enum Act {
    Join(usize),
    Leave(usize),
    Say {
        who: usize,
        to: Option<usize>,
        count: usize,
    },
    Ban(usize),
    Kick(usize),
    /// What travels from one machine to another is lost, connections with it; both ways or only there.
    Partition {
        from: usize,
        to: usize,
        both: bool,
    },
    /// What travels between two machines waits.
    Hold {
        from: usize,
        to: usize,
    },
    /// Every process of a machine ends, and the system says so to whom it may concern.
    Crash(usize),
    /// A machine goes dark.
    PowerLoss(usize),
    /// The profiles of a machine are copied as they stand on its disk.
    Copy(usize),
    /// A machine goes down, and its profiles are put back from the last copy.
    PutBack(usize),
    /// The host names its deputy.
    NameDeputy,
    /// The host's machine goes down, until all is calm.
    LoseHost,
    /// The deputy tries to open the network.
    TakeOver,
    /// An outage ends.
    Mend(Trouble),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Partition(usize, usize),
    Hold(usize, usize),
    Down(usize),
}

pub(crate) struct World {
    seed: u64,
    size: Size,
    rng: ChaCha20Rng,
    sim: Sim<'static>,
    people: Vec<Arc<Person>>,
    book: Arc<Mutex<Book>>,
    /// On which machine everybody is.
    machine_of: Vec<usize>,
    /// Acts to come, the next one last.
    plan: Vec<(Duration, Act)>,
    troubles: BTreeSet<Trouble>,
    texts: usize,
    diary: Vec<String>,
    dir: tempfile::TempDir,
}

/// A law was broken.
pub(crate) struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn machine_name(machine: usize) -> String {
    format!("machine-{machine}")
}

/// Replaces what was kept of a history by what another directory has.
fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = std::fs::remove_file(to.join(name));
    }
    for name in ["history.db", "history.db-wal", "known_hosts.json"] {
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = ChaCha20Rng::from_seed(bytes);
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(Duration::from_millis(30))
            .simulation_duration(Duration::from_secs(3600))
            .tcp_capacity(4096)
            .build();
        // Disks of a simulation are kept in memory where the system has such a place.
        let shared = Path::new("/dev/shm");
        let dir = if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() };
        let trace = std::env::var_os("PYILE_TRACE").map(|path| File::create(path).unwrap());
        let mut book = Book::default();
        book.trace = trace;
        let book = Arc::new(Mutex::new(book));
        let mut world = Self {
            seed,
            size,
            rng,
            sim,
            people: Vec::new(),
            book,
            machine_of: Vec::new(),
            plan: Vec::new(),
            troubles: BTreeSet::new(),
            texts: 0,
            diary: Vec::new(),
            dir: dir.unwrap(),
        };
        world.settle_people();
        world.make_plan();
        world
    }

    /// The host and the stranger have machines of their own; some have one for themselves, the others share.
    fn settle_people(&mut self) {
        let Size { people, machines, .. } = self.size;
        let host: IpAddr = self.sim.lookup(machine_name(HOST).as_str());
        let outages = self.plan_outages();
        for who in 0..people {
            let machine = if who < machines { who } else { 3 + who % (machines - 3) };
            self.machine_of.push(machine);
            let name = format!("p{who:03}");
            let dir = self.profile(who);
            let password = if who == STRANGER { "not the password" } else { PASSWORD };
            self.people.push(Arc::new(Person {
                who,
                name: name.clone(),
                password,
                dir: dir.clone(),
                seed: self.seed,
                host,
                members: people,
                grace: if self.size.deputy { Some(GRACE) } else { None },
                outages: outages.clone(),
                state: Mutex::default(),
                changed: tokio::sync::Notify::new(),
            }));
            self.book.lock().unwrap().people.push(Record { name, dir, ..Record::default() });
        }
        for machine in 0..machines {
            let name = machine_name(machine);
            let ip = self.sim.lookup(name.as_str());
            let here: Vec<Arc<Person>> = (0..people)
                .filter(|who| self.machine_of[*who] == machine)
                .map(|who| self.people[who].clone())
                .collect();
            let book = self.book.clone();
            self.sim.host(name.as_str(), move || {
                let (here, book) = (here.clone(), book.clone());
                async move {
                    for person in here {
                        tokio::spawn(person.live(book.clone(), ip));
                    }
                    std::future::pending().await
                }
            });
        }
    }

    /// Some machines cannot reach each other at all but for the join port, and one can be reached by nobody.
    fn plan_outages(&mut self) -> Outages {
        let machines = self.size.machines;
        let ips: Vec<IpAddr> =
            (0..machines).map(|machine| self.sim.lookup(machine_name(machine).as_str())).collect();
        let mut outages = BTreeSet::new();
        for one in 2..machines {
            for other in 2..one {
                if self.below(6) == 0 {
                    outages.extend([(ips[one], ips[other]), (ips[other], ips[one])]);
                }
            }
        }
        let hidden = 2 + self.below(machines - 2);
        outages.extend(ips.iter().filter(|ip| **ip != ips[hidden]).map(|ip| (*ip, ips[hidden])));
        Arc::new(outages)
    }

    /// A profile with a key that follows from the seed.
    fn profile(&self, who: usize) -> PathBuf {
        let dir = self.dir.path().join(format!("p{who:03}"));
        std::fs::create_dir(&dir).unwrap();
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..16].copy_from_slice(&(who as u64).to_le_bytes());
        let public = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        // PKCS#8, version 2 (RFC 5958, RFC 8410).
        let mut key = vec![0x30, 0x51, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        key.extend(seed);
        key.extend([0x81, 0x21, 0]);
        key.extend(public.public_key().as_ref());
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
            options.mode(0o600);
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        options.open(dir.join("identity.key")).unwrap().write_all(&key).unwrap();
        dir
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.rng.next_u64() % limit as u64).unwrap()
    }

    fn somebody(&mut self) -> usize {
        2 + self.below(self.size.people - 2)
    }

    fn make_plan(&mut self) {
        let Size { people, machines, trouble, acts, .. } = self.size;
        let millis = usize::try_from(trouble.as_millis()).unwrap();
        self.plan.push((Duration::ZERO, Act::Join(HOST)));
        // The storm at the beginning.
        for who in 1..people {
            let at = Duration::from_millis(100 + self.below(1000) as u64);
            self.plan.push((at, Act::Join(who)));
        }
        for _ in 0..acts {
            let at = Duration::from_millis(self.below(millis) as u64);
            let (one, other) = (self.below(machines), self.below(machines));
            let act = match self.below(20) {
                // What the host does not decide in time its deputy never knows.
                0 | 1 if self.size.deputy => Act::Say { who: self.somebody(), to: None, count: 5 },
                // They stream.
                0..=2 if self.size.copies => Act::Say { who: self.somebody(), to: None, count: 20 },
                0 => Act::Ban(self.somebody()),
                1 => Act::Kick(self.somebody()),
                // Who has opened the network again stays until all is calm.
                2 => match self.somebody() {
                    DEPUTY if self.size.deputy => continue,
                    who => Act::Leave(who),
                },
                3 => Act::Join(1 + self.below(people - 1)),
                4 => Act::Crash(one),
                5 => Act::PowerLoss(one),
                6 | 7 if self.size.copies => Act::Copy(one.max(2)),
                8 | 9 if self.size.copies => Act::PutBack(one.max(2)),
                6 | 7 if one != other => Act::Hold { from: one, to: other },
                8 | 9 if one != other => {
                    Act::Partition { from: one, to: other, both: at.subsec_millis().is_multiple_of(2) }
                }
                10 => Act::Say { who: self.somebody(), to: None, count: 20 },
                11 => Act::Say { who: HOST, to: None, count: 1 },
                12..=15 => Act::Say { who: self.somebody(), to: None, count: 1 },
                _ => {
                    let (who, to) = (self.somebody(), self.somebody());
                    Act::Say { who, to: Some(to), count: 3 }
                }
            };
            self.plan.push((at, act));
        }
        if self.size.deputy {
            self.plan.push((Duration::from_secs(6), Act::NameDeputy));
            let gone = 12 + self.below(20) as u64;
            self.plan.push((Duration::from_secs(gone), Act::LoseHost));
            for second in (gone + 2..trouble.as_secs()).step_by(2) {
                self.plan.push((Duration::from_secs(second), Act::TakeOver));
            }
        }
        self.plan.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    /// Lets everything happen. The report says how much that was.
    pub(crate) fn run(mut self) -> Result<String, Broken> {
        while self.sim.elapsed() < self.size.trouble {
            while self.plan.last().is_some_and(|(at, _)| *at <= self.sim.elapsed()) {
                let Some((_, act)) = self.plan.pop() else { break };
                self.act(act);
            }
            self.step()?;
        }
        for trouble in self.troubles.clone() {
            self.act(Act::Mend(trouble));
        }
        let calm = self.sim.elapsed();
        let mut unfinished = Some(String::new());
        while unfinished.is_some() {
            if self.sim.elapsed() > calm + self.size.calm {
                let what = format!("not well again: {}", unfinished.unwrap_or_default());
                return Err(self.broken(&what));
            }
            for _ in 0..50 {
                self.step()?;
            }
            let (book, members) = (self.book.lock().unwrap(), self.members());
            unfinished = book.unfinished(&members).or_else(|| book.missed(&members));
        }
        let took = self.sim.elapsed().saturating_sub(calm).as_secs_f64();
        let members = self.members();
        for person in &self.people {
            person.order(Order::Leave);
        }
        for _ in 0..2000 {
            self.step()?;
        }
        let (delivered, carried, digest) = {
            let mut book = self.book.lock().unwrap();
            book.check_disks();
            (book.delivered, book.carried, book.digest())
        };
        self.check()?;
        Ok(format!(
            "{} members, {delivered} deliveries, {carried} links carried, well again after {took:.1} s, digest {digest:016x}",
            members.len()
        ))
    }

    fn step(&mut self) -> Result<(), Broken> {
        self.sim.step().expect("nobody fails");
        self.check()
    }

    fn check(&self) -> Result<(), Broken> {
        let first = self.book.lock().unwrap().violations.first().cloned();
        first.map_or(Ok(()), |what| Err(self.broken(&what)))
    }

    fn broken(&self, what: &str) -> Broken {
        let (seed, people) = (self.seed, self.size.people);
        let diary = self.diary.join("\n  ");
        let at = self.sim.elapsed().as_secs_f64();
        Broken(format!("seed {seed}, {people} people, at {at:.3} s: {what}\n  {diary}"))
    }

    /// Does what is possible now.
    fn act(&mut self, act: Act) {
        let at = self.sim.elapsed();
        let text = format!("{:8.3} {act:?}", at.as_secs_f64());
        let is_down = |world: &Self, machine: usize| world.troubles.contains(&Trouble::Down(machine));
        let is_parted = |world: &Self, one: usize, other: usize| {
            let (low, high) = (one.min(other), one.max(other));
            world.troubles.contains(&Trouble::Partition(low, high))
                || world.troubles.contains(&Trouble::Hold(low, high))
        };
        match act {
            Act::Join(who) => {
                self.people[who].order(Order::Begin);
            }
            Act::Leave(who) => {
                self.people[who].order(Order::Leave);
            }
            Act::Say { who, to, count } => {
                for _ in 0..count {
                    self.texts += 1;
                    let to = to.map_or(Target::Everyone, |to| {
                        Target::Peer(PeerName::Alias(self.people[to].name.clone()))
                    });
                    let text = format!("{} from {}", self.texts, self.people[who].name);
                    let command = NodeCommand::Send { to, text, reference: None };
                    self.people[who].order(Order::Command(command));
                }
            }
            Act::Ban(_) | Act::Kick(_) if is_down(self, HOST) => return,
            Act::Ban(who) => {
                let (peer, addr, reason) = (Some(self.named(who)), None, None);
                self.people[HOST].order(Order::Command(NodeCommand::Ban { peer, addr, reason }));
            }
            Act::Kick(who) => {
                let (peer, addr, reason) = (Some(self.named(who)), None, None);
                self.people[HOST].order(Order::Command(NodeCommand::Kick { peer, addr, reason }));
            }
            Act::Crash(machine) | Act::PowerLoss(machine) | Act::PutBack(machine)
                if is_down(self, machine) =>
            {
                return;
            }
            Act::NameDeputy => {
                let peer = Some(self.named(DEPUTY));
                self.people[HOST].order(Order::Command(NodeCommand::Deputy { peer }));
            }
            Act::TakeOver => self.people[DEPUTY].order(Order::Command(NodeCommand::TakeOver)),
            Act::LoseHost => self.lose_host(),
            Act::Copy(machine) => self.copy_profiles(machine),
            Act::PutBack(machine) => self.put_profiles_back(machine),
            Act::Crash(machine) => {
                self.sim.crash(machine_name(machine));
                self.went_down(machine);
                self.mend_later(Trouble::Down(machine));
            }
            Act::PowerLoss(machine) => {
                let parted = |other: &usize| *other != machine && !is_parted(self, machine, *other);
                let others: Vec<usize> = (0..self.size.machines).filter(parted).collect();
                for other in &others {
                    self.sim.partition(machine_name(machine), machine_name(*other));
                }
                self.sim.crash(machine_name(machine));
                for other in &others {
                    self.sim.repair(machine_name(machine), machine_name(*other));
                }
                self.went_down(machine);
                self.mend_later(Trouble::Down(machine));
            }
            Act::Partition { from, to, .. } | Act::Hold { from, to } if is_parted(self, from, to) => return,
            Act::Partition { from, to, both } => {
                if both {
                    self.sim.partition(machine_name(from), machine_name(to));
                } else {
                    self.sim.partition_oneway(machine_name(from), machine_name(to));
                }
                self.mend_later(Trouble::Partition(from.min(to), from.max(to)));
            }
            Act::Hold { from, to } => {
                self.sim.hold(machine_name(from), machine_name(to));
                self.mend_later(Trouble::Hold(from.min(to), from.max(to)));
            }
            Act::Mend(trouble) => {
                if !self.troubles.remove(&trouble) {
                    return;
                }
                match trouble {
                    Trouble::Partition(one, other) => {
                        self.sim.repair(machine_name(one), machine_name(other));
                    }
                    Trouble::Hold(one, other) => self.sim.release(machine_name(one), machine_name(other)),
                    Trouble::Down(machine) => self.sim.bounce(machine_name(machine)),
                }
            }
        }
        self.diary.push(text);
    }

    /// Its machine is mended when all is.
    fn lose_host(&mut self) {
        if !self.troubles.contains(&Trouble::Down(HOST)) {
            self.sim.crash(machine_name(HOST));
            self.went_down(HOST);
        }
        self.troubles.insert(Trouble::Down(HOST));
        self.plan.retain(|(_, act)| !matches!(act, Act::Mend(Trouble::Down(HOST))));
    }

    /// Up to twenty seconds of it: longer than it takes to be removed.
    fn mend_later(&mut self, trouble: Trouble) {
        self.troubles.insert(trouble.clone());
        let at = self.sim.elapsed() + Duration::from_millis(200 + self.below(20_000) as u64);
        self.plan.push((at, Act::Mend(trouble)));
        self.plan.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    }

    fn copy_profiles(&self, machine: usize) {
        for who in self.people_on(machine) {
            let dir = self.book.lock().unwrap().people[who].dir.clone();
            copy_files(&dir, &self.copy_of(who));
        }
    }

    fn put_profiles_back(&mut self, machine: usize) {
        self.sim.crash(machine_name(machine));
        for who in self.people_on(machine) {
            let copy = self.copy_of(who);
            if copy.join("history.db").exists() {
                let dir = self.book.lock().unwrap().people[who].dir.clone();
                copy_files(&copy, &dir);
                self.book.lock().unwrap().put_back(who);
            }
        }
        self.went_down(machine);
        self.mend_later(Trouble::Down(machine));
    }

    fn people_on(&self, machine: usize) -> Vec<usize> {
        (0..self.size.people).filter(|who| self.machine_of[*who] == machine).collect()
    }

    fn copy_of(&self, who: usize) -> PathBuf {
        self.dir.path().join(format!("copy-of-p{who:03}"))
    }

    /// Nobody there is in any more, and nobody has said so.
    fn went_down(&mut self, machine: usize) {
        let mut book = self.book.lock().unwrap();
        for who in 0..self.size.people {
            if self.machine_of[who] == machine {
                book.people[who].is_in = false;
            }
        }
    }

    /// Who is to be a member: all who want to be, since nobody told them otherwise. Not the stranger.
    fn members(&self) -> BTreeSet<usize> {
        (0..self.size.people).filter(|who| *who != STRANGER && self.people[*who].wants_in()).collect()
    }

    /// By key, as a host bans that sees the member; by name when it was never there.
    fn named(&self, who: usize) -> PeerName {
        let id = self.book.lock().unwrap().people[who].id;
        id.map_or_else(|| PeerName::Alias(self.people[who].name.clone()), PeerName::Id)
    }
}
