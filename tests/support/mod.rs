//! Drives the real binary: starts it, reads its events, and ends it by its own id.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::assigning_clones,
    reason = "each test file uses a part"
)]

pub mod lan;
pub mod transcript;
pub mod wire;

use std::{
    cell::Cell,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// Longer than anything that is waited for takes on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(40);

/// A port that nothing listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A process that is about to start.
pub struct Starting {
    args: Vec<String>,
    password: Option<String>,
    dir: Arc<TempDir>,
    /// The words that start another program, which then starts this one.
    through: Vec<String>,
}

impl Starting {
    pub fn new(alias: &str, args: &[&str]) -> Self {
        let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
        args.extend(["--json".into(), "--alias".into(), alias.into()]);
        let dir = Arc::new(tempfile::tempdir().unwrap());
        Self { args, password: Some("open sesame".into()), dir, through: Vec::new() }
    }

    pub fn host(alias: &str) -> Self {
        Self::new(alias, &["host", "--network", "lab", "--listen", "127.0.0.1:0"])
    }

    pub fn join(host: &Peer, alias: &str) -> Self {
        Self::new(alias, &["join", &host.join_addr()])
    }

    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub fn listen(mut self, addr: &str) -> Self {
        let at = self.args.iter().position(|arg| arg == "--listen").unwrap();
        self.args[at + 1] = addr.to_owned();
        self
    }

    /// With no word on what it is called.
    pub fn unnamed(mut self) -> Self {
        let at = self.args.iter().position(|arg| arg == "--alias").unwrap();
        self.args.drain(at..at + 2);
        self
    }

    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    pub fn no_password(mut self) -> Self {
        self.password = None;
        self
    }

    /// The same key and files as another peer's.
    pub fn profile_of(mut self, peer: &Peer) -> Self {
        self.dir = peer.dir.clone();
        self
    }

    /// With its files in a directory that is there already.
    pub fn in_dir(mut self, dir: &Arc<TempDir>) -> Self {
        self.dir = dir.clone();
        self
    }

    /// With a variable in its environment.
    pub fn environment(self, name: &str, value: &str) -> Self {
        self.through(&["env", &format!("{name}={value}")])
    }

    fn through(mut self, words: &[&str]) -> Self {
        self.through.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// On a machine of its own: in this network namespace.
    pub fn in_namespace(self, namespace: &str) -> Self {
        self.through(&["ip", "netns", "exec", namespace])
    }

    /// At most so many open descriptors.
    pub fn descriptors(self, most: u32) -> Self {
        self.through(&["sh", "-c", &format!("ulimit -n {most}; exec \"$@\""), "sh"])
    }

    /// As with nohup.
    pub fn ignoring_hangup(self) -> Self {
        self.through(&["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"])
    }

    /// SIGHUP ends it, also where the tests run with nohup (on Linux; elsewhere it is as for the tests).
    pub fn heeding_hangup(self) -> Self {
        if cfg!(target_os = "linux") { self.through(&["env", "--default-signal=HUP"]) } else { self }
    }

    /// With a clock that is wrong by so much, as `faketime` has it.
    pub fn clock(self, wrong_by: &str) -> Self {
        self.through(&["env", "FAKETIME_DONT_FAKE_MONOTONIC=1", "faketime", "-f", wrong_by])
    }

    /// With a clock that is wrong by what stands in a file at the time.
    pub fn changing_clock(self, file: &std::path::Path) -> Self {
        let file = format!("FAKETIME_TIMESTAMP_FILE={}", file.display());
        self.through(&["env", &file, "FAKETIME_NO_CACHE=1"]).clock("+0")
    }

    /// What is about to be started.
    pub fn command(&self) -> Command {
        let words: Vec<&str> =
            self.through.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_pyile")]).collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(&self.args)
            .arg("--data-dir")
            .arg(self.dir.path())
            .env_remove("PYILE_PASSWORD")
            .env_remove("PYILE_INVITE")
            .env("XDG_CONFIG_HOME", self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        if let Some(password) = &self.password {
            command.env("PYILE_PASSWORD", password);
        }
        command
    }

    pub fn start(self) -> Peer {
        let mut command = self.command();
        let mut peer = Peer::spawn(&mut command, self.dir);
        if self.args.first().is_some_and(|arg| arg == "host") {
            // Its first event tells where it listens, or why not; it can still be waited for.
            peer.past.extend(peer.events.recv_timeout(DEADLINE));
        }
        peer
    }
}

/// A peer of the Python program, when there is one: `PYILE_PYTHON` names an interpreter that has it.
pub fn python(args: &[&str]) -> Option<Peer> {
    let interpreter = std::env::var_os("PYILE_PYTHON")?;
    let driver = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/peer.py");
    let mut command = Command::new(interpreter);
    command.arg(driver).args(args).stderr(Stdio::inherit());
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    Some(Peer::spawn(&mut command, Arc::new(tempfile::tempdir().unwrap())))
}

impl Peer {
    /// Starts a process that tells of itself in JSON lines.
    fn spawn(command: &mut Command, dir: Arc<TempDir>) -> Self {
        let mut child = command.spawn().unwrap();
        let (lines, events) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines() {
                let Ok(line) = line else { return };
                // The last line of a process that was killed may be cut.
                let Ok(event) = serde_json::from_str::<Value>(&line) else {
                    assert!(!line.ends_with('}'), "no JSON: {line}");
                    return;
                };
                if lines.send(event).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take();
        Self { child, input, events, past: Vec::new(), read: 0, dir }
    }
}

/// What `pyile history --json` prints of the profile in a directory.
pub fn history_of(dir: &TempDir, args: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_pyile"))
        .args(["history", "--json", "--data-dir"])
        .arg(dir.path())
        .args(args)
        .env("XDG_CONFIG_HOME", dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect()
}

/// What `pyile doctor --json` finds, and its exit code.
pub fn diagnose(target: &str, args: &[&str], password: Option<&str>) -> (Vec<Value>, i32) {
    diagnose_on(None, target, args, password)
}

/// The same on a machine of its own: in this network namespace.
pub fn diagnose_on(
    namespace: Option<&str>,
    target: &str,
    args: &[&str],
    password: Option<&str>,
) -> (Vec<Value>, i32) {
    let dir = tempfile::tempdir().unwrap();
    let binary = env!("CARGO_BIN_EXE_pyile");
    let mut command = match namespace {
        Some(namespace) => {
            let mut ip = Command::new("ip");
            ip.args(["netns", "exec", namespace, binary]);
            ip
        }
        None => Command::new(binary),
    };
    command.args(["doctor", "--json", target]).args(args);
    if !args.contains(&"--data-dir") {
        command.arg("--data-dir").arg(dir.path());
    }
    command.env("XDG_CONFIG_HOME", dir.path()).env_remove("PYILE_PASSWORD");
    if let Some(password) = password {
        command.env("PYILE_PASSWORD", password);
    }
    let output = command.output().unwrap();
    let findings = output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    (findings, output.status.code().unwrap_or(-1))
}

/// Resident memory of a process in KiB.
pub fn resident(peer: &Peer) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", peer.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// With `PYILE_TEST_LAG` a test waits so many milliseconds after each of its first steps. What fails then has leaned on
/// being fast.
fn lag() {
    thread_local!(static STEPS: Cell<u32> = const { Cell::new(0) });
    STEPS.set(STEPS.get() + 1);
    // Some say thousands of things.
    if let Some(lag) = std::env::var("PYILE_TEST_LAG").ok().filter(|_| STEPS.get() <= 40) {
        std::thread::sleep(Duration::from_millis(lag.parse().unwrap()));
    }
}

/// A running process.
pub struct Peer {
    child: Child,
    input: Option<ChildStdin>,
    events: Receiver<Value>,
    past: Vec<Value>,
    /// Events up to here were looked at by a wait that matched.
    read: usize,
    dir: Arc<TempDir>,
}

impl Peer {
    /// Waits for the next event that matches. What comes before it is passed over.
    pub fn wait_for(&mut self, what: &str, matches: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        loop {
            while let Some(event) = self.past.get(self.read) {
                self.read += 1;
                if matches(event) {
                    let event = event.clone();
                    lag();
                    return event;
                }
            }
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.past.push(event),
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in time; events: {:#?}", self.past),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("ended without {what}; events: {:#?}", self.past)
                }
            }
        }
    }

    /// Passes over everything that has come so far.
    pub fn forget_past(&mut self) {
        self.past.extend(self.events.try_iter());
        self.read = self.past.len();
    }

    /// Looks at everything again.
    pub fn rewind(&mut self) {
        self.read = 0;
    }

    /// Waits for the next event of a kind.
    pub fn event(&mut self, name: &str) -> Value {
        self.wait_for(name, |event| event["event"] == name)
    }

    /// True when such an event has come so far.
    pub fn seen(&mut self, matches: impl Fn(&Value) -> bool) -> bool {
        self.past.extend(self.events.try_iter());
        self.past.iter().any(matches)
    }

    /// How many such events have come so far.
    pub fn count(&mut self, matches: impl Fn(&Value) -> bool) -> usize {
        self.past.extend(self.events.try_iter());
        self.past.iter().filter(|event| matches(event)).count()
    }

    pub fn say(&mut self, command: Value) {
        self.raw(&command.to_string());
    }

    pub fn raw(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line.as_bytes()).unwrap();
        input.write_all(b"\n").unwrap();
        input.flush().unwrap();
        lag();
    }

    pub fn close_input(&mut self) {
        self.input = None;
    }

    pub fn join_addr(&self) -> String {
        self.past
            .iter()
            .find_map(|event| event["join_addr"].as_str())
            .expect("the host's listening event was waited for")
            .to_owned()
    }

    /// The directory of its files.
    pub fn dir(&self) -> Arc<TempDir> {
        self.dir.clone()
    }

    /// Everything that has come so far.
    pub fn events_so_far(&mut self) -> &[Value] {
        self.past.extend(self.events.try_iter());
        &self.past
    }

    /// Waits until something has come, or for a moment.
    pub fn wait_a_moment(&mut self) {
        if let Ok(event) = self.events.recv_timeout(Duration::from_millis(20)) {
            self.past.push(event);
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn profile_dir(&self) -> PathBuf {
        self.dir.path().join("default")
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(status.unwrap().success());
        lag();
    }

    pub fn terminate(&self) {
        self.signal("TERM");
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What a killed process had still written.
    pub fn rest(&mut self) -> Vec<Value> {
        self.events.iter().collect()
    }

    /// True when the process ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Leaves in order; checks that `left` is the last line.
    pub fn leave(&mut self) -> i32 {
        self.say(serde_json::json!({"cmd": "leave"}));
        self.event("left");
        self.exit_code()
    }

    pub fn exit_code(&mut self) -> i32 {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.past.push(event),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("does not end; events: {:#?}", self.past),
            }
        }
        if let Some(last) = self.past.last() {
            assert_eq!(last["event"], "left", "the last line");
        }
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
