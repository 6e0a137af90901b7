use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::{
    api::{HistoryCommand, HistoryEvent},
    model::{
        Alias, Ban, Batch, Held, Network, NetworkId, PeerId, Recipient, SafeText, Signature, StoredBatch,
        StreamId, Timestamp,
    },
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn state(name: &str) -> HostState {
    HostState {
        network: Network { id: NetworkId([1; 16]), name: name.into() },
        alias: Some(Alias::new("ann").unwrap()),
        record: vec![1, 2, 3],
        listen: None,
        admitted: Vec::new(),
        bans: vec![Ban {
            peer_id: Some(PeerId([2; 32])),
            alias: Some(Alias::new("bob").unwrap()),
            addr: Some("10.0.0.1".parse().unwrap()),
            reason: "spam".into(),
            since: Timestamp(1),
            prefix: None,
            automatic: false,
        }],
        passes: Vec::new(),
        attempts: Vec::new(),
        roster: Vec::new(),
        departed: Vec::new(),
        version: 3,
        classic: false,
        alive: Timestamp(0),
        deputy: None,
        opened_by: None,
    }
}

fn open(dir: &Path) -> Result<Profile, StoreError> {
    Profile::open(dir, Keeping::OnDisk(Retention::default()))
}

fn known(target: &str) -> KnownHost {
    KnownHost {
        target: target.into(),
        peer_id: PeerId([3; 32]),
        network: "lab".into(),
        alias: Alias::new("ann").unwrap(),
        joined: Timestamp(5),
        classic: false,
        network_id: None,
        handed_over: false,
        version: 0,
        deputy: None,
    }
}

/// Sends commands and gives the last answer.
fn run(profile: &Profile, commands: Vec<StoreCommand>) -> StoreEvent {
    let (reply, mut events) = mpsc::channel(100);
    for command in commands {
        profile.command(command, &reply);
    }
    drop(reply);
    std::iter::from_fn(|| events.blocking_recv()).last().unwrap()
}

fn batch_of(number: u64) -> StoreCommand {
    let stream = StreamId { author: PeerId([5; 32]), epoch: 1, to: Recipient::Everyone };
    let batch = Batch {
        stream,
        first: number,
        sent_at: Timestamp(1),
        texts: vec![SafeText::line("x")],
        signature: Some(Signature([3; 64])),
    };
    let batch = StoredBatch {
        batch,
        alias: Alias::new("bob").unwrap(),
        at: Timestamp(1),
        place: i64::try_from(number).unwrap(),
        references: Vec::new(),
        claims: None,
    };
    StoreCommand::Keep { token: number, network: NETWORK.id, batch: Arc::new(batch), spans: Vec::new() }
}

const NETWORK: Network = Network { id: NetworkId([1; 16]), name: String::new() };

#[test]
fn what_is_kept_never_waits_for_what_others_ask() {
    let dir = tempfile::tempdir().unwrap();
    for profile in [Profile::ephemeral().unwrap(), open(&dir.path().join("profile")).unwrap()] {
        let (reply, mut events) = mpsc::channel(100);
        let history = |command| StoreCommand::History(command);
        let held = |token| HistoryCommand::Held { token, network: NETWORK.id, since: Timestamp(0) };
        let wanted = Held { author: PeerId([5; 32]), epoch: 1, from: 1, to: 1 };
        let range = HistoryCommand::Range {
            token: 9,
            network: NETWORK.id,
            conversation: Recipient::Everyone,
            wanted,
            since: Timestamp(0),
        };
        let named = history(HistoryCommand::Recall(NETWORK));
        let commands = vec![history(held(1)), history(range.clone()), history(held(2)), named, batch_of(1)];
        profile.commands(commands, &reply).unwrap();
        let mut order = Vec::new();
        while order.len() < 5 {
            match events.blocking_recv().unwrap() {
                StoreEvent::History(HistoryEvent::Recalled(_)) => order.push(0),
                StoreEvent::History(HistoryEvent::Kept { .. }) => order.push(1),
                StoreEvent::History(HistoryEvent::Held { .. } | HistoryEvent::Range { .. }) => order.push(2),
                _ => {}
            }
        }
        assert_eq!(order, [0, 1, 2, 2, 2]);
        // What is kept by now is given.
        profile.commands(vec![history(held(3)), history(range)], &reply).unwrap();
        let mut given = Vec::new();
        while given.len() < 2 {
            match events.blocking_recv().unwrap() {
                StoreEvent::History(HistoryEvent::Held { held, .. }) => given.push(held.len()),
                StoreEvent::History(HistoryEvent::Range { batches, .. }) => given.push(batches.len()),
                _ => {}
            }
        }
        assert_eq!(given, [1, 1]);
    }
}

#[test]
fn what_nobody_waits_for_is_there_for_whoever_asks() {
    let profile = Profile::ephemeral().unwrap();
    let (node, _answers) = mpsc::channel(100);
    let remember = |target| StoreCommand::RememberHost(Box::new(known(target)));
    assert_eq!(profile.commands_later(vec![remember("a:1")], &node), 1);
    assert_eq!(profile.commands_later(vec![remember("b:1"), remember("c:1")], &node), 3);
    assert_eq!(profile.recents(), []);
    let seen = run(&profile.clone(), vec![StoreCommand::Recents]);
    assert_eq!(seen, StoreEvent::Recents(vec![known("c:1"), known("b:1"), known("a:1")]));
    assert_eq!(profile.commands_later(Vec::new(), &node), 0);
}

#[test]
fn a_profile_comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("profile");
    let profile = open(&dir).unwrap();
    let id = profile.identity().peer_id();
    let save = |token, name| StoreCommand::SaveHost { token, state: Box::new(state(name)) };
    assert_eq!(run(&profile, vec![save(1, "one"), save(2, "two"), save(3, "three")]), StoreEvent::Saved(3));
    let remember = |target| StoreCommand::RememberHost(Box::new(known(target)));
    let last = run(&profile, vec![remember("a:1"), remember("b:1"), remember("a:1")]);
    assert_eq!(last, StoreEvent::Recents(vec![known("a:1"), known("b:1")]));
    reopen(profile, &dir, |profile| {
        assert_eq!(profile.identity().peer_id(), id);
        assert_eq!(profile.host(), Some(state("three")));
        assert_eq!(profile.recents(), [known("a:1"), known("b:1")]);
        assert_eq!(
            run(profile, vec![StoreCommand::ForgetHost { target: "a:1".into() }]),
            StoreEvent::Recents(vec![known("b:1")])
        );
    });
    assert_eq!(mode(&dir), 0o700);
    for file in fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert!(path.ends_with("lock") || mode(&path) == 0o600, "{}", path.display());
    }
}

/// The lock goes with the store's thread, which ends after the last handle.
fn reopen(profile: Profile, dir: &Path, check: impl FnOnce(&Profile)) {
    drop(profile);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match open(dir) {
            Ok(profile) => return check(&profile),
            Err(StoreError::InUse { .. }) if std::time::Instant::now() < deadline => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn nobody_but_the_person_here_removes_the_key_of_a_host_that_was_typed() {
    let profile = Profile::ephemeral().unwrap();
    let remember = |host: KnownHost| match run(
        &profile,
        vec![StoreCommand::RememberHost(Box::new(host)), StoreCommand::Recents],
    ) {
        StoreEvent::Recents(recents) => recents,
        other => panic!("{other:?}"),
    };
    for number in 0..99 {
        remember(known(&format!("host-{number}:4702")));
    }
    // A network that hands itself over again and again, also to the address of another one's host.
    let moved = |target: String, key: u8| KnownHost {
        peer_id: PeerId([key; 32]),
        network_id: Some(NetworkId([6; 16])),
        handed_over: true,
        ..known(&target)
    };
    for number in 0..200 {
        remember(moved(format!("10.0.0.{number}:4702"), number));
    }
    let hosts = remember(moved("host-7:4702".into(), 66));
    assert_eq!(hosts.len(), 100, "the newest of its places, and all that were typed");
    assert_eq!(hosts[0].target, "10.0.0.199:4702");
    let host = |hosts: &[KnownHost]| hosts.iter().find(|host| host.target == "host-7:4702").unwrap().clone();
    assert_eq!(host(&hosts), known("host-7:4702"));
    // The same key there is no news.
    let hosts = remember(KnownHost { peer_id: known("x").peer_id, ..moved("host-7:4702".into(), 0) });
    assert!(!host(&hosts).handed_over && hosts.len() == 100);
    let forget = vec![StoreCommand::ForgetHost { target: "host-7:4702".into() }, StoreCommand::Recents];
    let StoreEvent::Recents(hosts) = run(&profile, forget) else { panic!() };
    assert_eq!(hosts.len(), 99);
}

#[test]
fn a_second_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("profile");
    let _first = open(&dir).unwrap();
    let error = open(&dir).unwrap_err().to_string();
    assert!(error.contains("in use by another pyile") && error.contains("--profile"), "{error}");
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("profile");
    let files = Files::open(&dir).unwrap();
    files.identity().unwrap();
    fs::set_permissions(dir.join("identity.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let error = files.identity().unwrap_err().to_string();
    assert!(error.contains("can be read by others (mode 644)"), "{error}");
    drop(files);
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(matches!(Files::open(&dir), Err(StoreError::TooOpen { wanted: 0o700, .. })));
}

#[test]
fn damaged_files_are_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("profile");
    let files = Files::open(&dir).unwrap();
    for (name, content) in [
        ("host.json", "{ not json"),
        ("host.json", r#"{"format": 2, "network": {"id": [], "name": ""}}"#),
        ("known_hosts.json", r#"{"format": 9, "hosts": []}"#),
    ] {
        fs::write(dir.join(name), content).unwrap();
        let error = match name {
            "host.json" => files.host().map(|_| ()).unwrap_err(),
            _ => files.recents().map(|_| ()).unwrap_err(),
        };
        assert!(error.to_string().contains(name) && error.to_string().contains("is damaged"), "{error}");
        assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), content);
        fs::remove_file(dir.join(name)).unwrap();
    }
    fs::write(dir.join("identity.key"), "garbage").unwrap();
    fs::set_permissions(dir.join("identity.key"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(matches!(files.identity(), Err(StoreError::Damaged { .. })));
}

#[test]
fn an_ephemeral_profile_keeps_nothing_and_says_saved() {
    let profile = Profile::ephemeral().unwrap();
    let save = StoreCommand::SaveHost { token: 7, state: Box::new(state("x")) };
    assert_eq!(run(&profile, vec![save]), StoreEvent::Saved(7));
}
