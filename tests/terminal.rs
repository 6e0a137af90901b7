//! The real binary in a real terminal: what a person sees and types, from the launch screen to the restored shell.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    io::{Read, Write},
    num::NonZero,
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Instant,
};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use support::{DEADLINE, Starting};
use tempfile::TempDir;

/// A terminal with a program in it.
struct Term {
    parser: vt100::Parser,
    output: Receiver<Vec<u8>>,
    raw: Vec<u8>,
    input: Box<dyn Write + Send>,
    master: Box<dyn MasterPty + Send>,
    child: Box<dyn Child + Send + Sync>,
    termios: String,
    dir: TempDir,
}

fn termios(master: &dyn MasterPty) -> String {
    format!("{:?}", master.get_termios().map(|termios| (termios.local_flags, termios.input_flags)))
}

fn cells(count: u16) -> NonZero<u16> {
    NonZero::new(count).unwrap()
}

impl Term {
    fn pyile(args: &[&str]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_pyile"));
        command.args(args);
        Self::start(command, (35, 120))
    }

    fn start(command: CommandBuilder, size: (u16, u16)) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), command, size)
    }

    /// In the profile of another that has ended.
    fn start_in(dir: TempDir, mut command: CommandBuilder, (rows, cols): (u16, u16)) -> Self {
        let pair =
            native_pty_system().openpty(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
        command.env("TERM", "xterm-256color");
        command.env("PYILE_DATA_DIR", dir.path());
        command.env("XDG_CONFIG_HOME", dir.path());
        command.env("PYILE_ALIAS", "ann");
        command.env("LC_ALL", "C.UTF-8");
        command.env_remove("TZ");
        command.env_remove("NO_COLOR");
        command.env_remove("PYILE_PASSWORD");
        let before = termios(&*pair.master);
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (tx, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                if tx.send(buffer[..count].to_vec()).is_err() {
                    return;
                }
            }
        });
        let input = pair.master.take_writer().unwrap();
        Self {
            parser: if rows == 0 {
                vt100::Parser::new(cells(24), cells(80), 0)
            } else {
                vt100::Parser::new(cells(rows), cells(cols), 0)
            },
            output,
            raw: Vec::new(),
            input,
            master: pair.master,
            child,
            termios: before,
            dir,
        }
    }

    fn rows(&self) -> Vec<String> {
        let screen = self.parser.screen();
        let (_, columns) = screen.size();
        screen.rows(0, columns.get()).map(|row| row.trim_end().to_owned()).collect()
    }

    fn shows(&self, words: &str) -> bool {
        self.rows().iter().any(|row| row.contains(words))
    }

    fn wait(&mut self, what: &str, matches: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !matches(self) {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    self.parser.process(&bytes);
                    self.raw.extend(bytes);
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in time:\n{}", self.rows().join("\n")),
                Err(RecvTimeoutError::Disconnected) => {
                    let tail = self.raw.len().saturating_sub(4000);
                    let tail = String::from_utf8_lossy(&self.raw[tail..]).into_owned();
                    panic!("ended without {what}:\n{}\n{tail}", self.rows().join("\n"))
                }
            }
        }
    }

    fn see(&mut self, words: &str) {
        self.wait(words, |term| term.shows(words));
    }

    fn gone(&mut self, words: &str) {
        self.wait(&format!("screen without {words}"), |term| !term.shows(words));
    }

    fn keys(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    fn resize(&mut self, (rows, cols): (u16, u16)) {
        self.parser.screen_mut().set_size(cells(rows), cells(cols));
        self.master.resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    /// Waits for the end and checks that the terminal is as it was.
    fn ended(mut self) -> (u32, String) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => {
                    self.parser.process(&bytes);
                    self.raw.extend(bytes);
                }
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("does not end:\n{}", self.rows().join("\n")),
            }
        }
        let code = self.child.wait().unwrap().exit_code();
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen(), "the shell's screen is back");
        assert!(!screen.bracketed_paste() && !screen.hide_cursor(), "paste and cursor are as before");
        assert_eq!(termios(&*self.master), self.termios, "the line discipline is as before");
        (code, self.rows().join("\n"))
    }
}

impl Drop for Term {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// To the last button, and press it.
const YES: &str = "\x1b[C\r";
const ENTER: &str = "\r";
const DOWN: &str = "\x1b[B";
const ESC: &str = "\x1b";
const F2: &str = "\x1bOQ";
const F3: &str = "\x1bOR";

/// Hosts through the form. Gives the join address.
fn host() -> (Term, String) {
    let mut host = Term::pyile(&["--attempts", "3"]);
    host.see("open a network");
    host.keys(ENTER);
    host.see("Demo");
    // The cursor is where something is missing: the password.
    host.keys("open sesame");
    host.see("•••••••••••");
    // Back over the name of the network, then on to the address.
    host.keys("\x1b[Z\x1b[Zlab\t\x15127.0.0.1:0\t");
    host.keys(ENTER);
    host.see("Nobody else is here yet");
    let row = host.rows().into_iter().find(|row| row.contains("pyile join ")).unwrap();
    let addr = row.split("pyile join ").nth(1).unwrap().split([' ', '│']).next().unwrap().to_owned();
    (host, addr)
}

fn join(addr: &str, alias: &str) -> Term {
    let mut member = Term::pyile(&["join", addr, "--alias", alias]);
    member.see("Join a network");
    member.keys("open sesame");
    member.see("•••••••••••");
    member.keys(ENTER);
    member.see("joined");
    member
}

#[test]
fn host_join_talk_ban_and_quit_on_the_screen() {
    let (mut ann, addr) = host();
    let mut bob = join(&addr, "bob");
    ann.see("bob joined");
    ann.see("to everyone (1)");
    ann.keys("hello bob\r");
    bob.see("hello bob");
    ann.see("✓");
    bob.keys("hi ann\r");
    ann.see("hi ann");

    for (size, words) in
        [((12, 40), "hi ann"), ((24, 80), "to everyone"), ((1, 1), ""), ((35, 120), "Heartbeat")]
    {
        ann.resize(size);
        ann.keys("\x0c");
        if !words.is_empty() {
            ann.see(words);
        }
    }

    let mut mallory = Starting::new("mallory", &["join", &addr]).password("open sesame").start();
    mallory.event("authenticated");
    let hostile = "\x1b]52;c;aGk=\x07\x1b[2J\u{202e}evil\u{200b}";
    mallory.say(serde_json::json!({"cmd": "send", "to": "everyone", "text": hostile}));
    for term in [&mut ann, &mut bob] {
        term.see("␛]52;c;aGk=␇␛[2J");
        assert!(!String::from_utf8_lossy(&term.raw).contains("\x1b]52"), "nothing reached the terminal raw");
        assert!(!String::from_utf8_lossy(&term.raw).contains('\u{202e}'));
    }
    mallory.say(serde_json::json!({"cmd": "send", "to": "everyone", "text": "x".repeat(16_384)}));
    ann.see("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");

    ann.keys(F3);
    ann.see("Members 2");
    ann.keys("jb");
    ann.see("Ban mallory?");
    ann.keys(YES);
    ann.see("New password");
    ann.keys("\x1b");
    ann.gone("New password");
    ann.see("Banned 1");
    assert_eq!(mallory.exit_code(), 5);
    bob.see("mallory is gone");
    ann.keys(F2);
    ann.see("cut off by 1 of 1");

    bob.keys("/");
    bob.see("/msg NAME TEXT");
    bob.keys("quit\r");
    bob.see("Leave lab?");
    bob.keys(YES);
    assert_eq!(bob.ended().0, 0);
    ann.see("bob is gone");
    ann.keys("\x03");
    ann.see("The network closes");
    ann.keys(ENTER);
    ann.gone("The network closes");
    ann.keys("\x03");
    ann.see("The network closes");
    ann.keys(YES);
    assert_eq!(ann.ended().0, 0);
}

#[test]
fn what_goes_wrong_is_said_beside_the_field_and_nothing_typed_is_lost() {
    let (mut ann, addr) = host();
    let mut bob = Term::pyile(&["join", "127.0.0.1:1", "--alias", "bob"]);
    bob.see("Join a network");
    bob.keys("wrong");
    bob.see("•••••");
    bob.keys(ENTER);
    bob.see("nothing listens at 127.0.0.1:1");
    bob.keys("\x15");
    bob.keys(&addr);
    bob.see(&addr);
    bob.keys("\t\t");
    bob.keys(ENTER);
    bob.see("attempts are left");
    ann.see("wrong password from 127.0.0.1");
    bob.keys("\x15open sesame");
    bob.keys(ENTER);
    bob.see("joined");
    // The host goes away without a word.
    ann.child.kill().unwrap();
    bob.see("◌ host lost");
    bob.keys("\x03");
    bob.see("Leave lab?");
    bob.keys(YES);
    assert_eq!(bob.ended().0, 0);
}

#[test]
fn resize_to_1x1_and_back() {
    let (mut ann, addr) = host();
    let mut bob = join(&addr, "bob");
    ann.see("to everyone (1)");
    ann.keys("half a");
    ann.see("half a");
    for size in [(1, 1), (1, 120), (35, 1), (2, 2)] {
        ann.resize(size);
        // Several lines at once would be a paste.
        bob.keys(&format!("at {} x {}\r", size.0, size.1));
        let said = format!("at {} x {}", size.0, size.1);
        bob.wait("mark", |term| term.rows().iter().any(|row| row.contains(&said) && row.contains('✓')));
        ann.keys(&format!(" {}x{}", size.0, size.1));
    }
    ann.resize((35, 120));
    // Nothing that was typed or said meanwhile is lost.
    ann.see("half a 1x1 1x120 35x1 2x2");
    for size in ["1 x 1", "1 x 120", "35 x 1", "2 x 2"] {
        ann.see(&format!("at {size}"));
    }
    ann.keys("ld\r");
    bob.see("half a 1x1 1x120 35x1 2x2ld");
    bob.keys("\x03");
    bob.see("Leave lab?");
    bob.keys(YES);
    assert_eq!(bob.ended().0, 0);
}

#[test]
fn the_demo_is_alive_and_a_signal_ends_it_in_order() {
    let mut term = Term::pyile(&["demo"]);
    term.see("I repeat what I am told");
    term.keys("echo, are you there?\r");
    term.wait("an answer", |term| {
        term.rows().iter().filter(|row| row.contains("echo, are you there?")).count() == 2
    });
    term.keys(ESC);
    term.see("press i to write");
    let id = term.child.process_id().unwrap();
    std::process::Command::new("kill").args(["-TERM", &id.to_string()]).status().unwrap();
    assert_eq!(term.ended().0, 0);
}

#[test]
fn the_launch_screen_can_be_left_and_a_second_process_is_refused() {
    let mut term = Term::pyile(&[]);
    term.see("Demo");
    term.keys(DOWN);
    term.see("▌ Join");
    let mut second = CommandBuilder::new(env!("CARGO_BIN_EXE_pyile"));
    second.args(["--data-dir", term.dir.path().to_str().unwrap()]);
    let second = Term::start(second, (24, 80));
    let (code, rows) = second.ended();
    assert!(code == 2 && rows.contains("in use by another pyile"), "{rows}");
    term.keys("\x03");
    assert_eq!(term.ended().0, 0);
}

/// Not a test by itself: what the next one runs in a terminal.
#[test]
#[ignore = "run in a terminal by the test after it"]
fn panicking_child() {
    pyile::terminal::restore_on_panic();
    let mut guard = pyile::terminal::Guard::take(false, false).unwrap();
    guard
        .draw(|frame| {
            frame.render_widget("about to panic", frame.area());
            Vec::new()
        })
        .unwrap();
    panic!("on purpose");
}

#[test]
fn a_panic_of_the_screen_gives_the_terminal_back_and_is_reported() {
    let mut command = CommandBuilder::new(std::env::current_exe().unwrap());
    command.env("RUST_BACKTRACE", "0");
    command.args(["panicking_child", "--exact", "--ignored", "--nocapture"]);
    let term = Term::start(command, (24, 80));
    let (code, rows) = term.ended();
    assert!(code != 0 && rows.contains("panicked at"), "{rows}");
}

#[test]
fn ctrl_c_twice_leaves_and_keys_from_before_the_room_was_drawn_are_not_for_it() {
    let (mut ann, addr) = host();
    let mut bob = join(&addr, "bob");
    bob.keys("\x03");
    bob.see("Leave lab?");
    bob.keys("\x03");
    assert_eq!(bob.ended().0, 0);
    ann.see("bob is gone");
    // A password typed from habit, when none is asked for.
    let mut again = Term::pyile(&["demo"]);
    again.keys("open sesame\r");
    again.see("I repeat what I am told");
    assert!(!again.shows("open sesame"), "{}", again.rows().join("\n"));
    again.child.kill().unwrap();
}

#[test]
fn a_late_answer_of_the_terminal_is_no_text_and_a_paste_without_brackets_sends_nothing() {
    let (mut ann, addr) = host();
    let mut bob = join(&addr, "bob");
    ann.see("bob joined");
    bob.keys("\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\");
    bob.keys("first line\rsecond line\rthird line\r");
    bob.see("third line");
    // The log is drawn meanwhile.
    ann.keys("are you there?\r");
    bob.see("are you there?");
    assert!(!bob.shows("rgb:") && !ann.shows("first line"), "{}", bob.rows().join("\n"));
    bob.keys(ENTER);
    ann.see("first line");
    ann.see("third line");
    let said = ann.rows().iter().filter(|row| row.contains(" bob ") && row.contains("line")).count();
    assert_eq!(said, 1, "one message of three lines: {}", ann.rows().join("\n"));
}

#[test]
fn a_poor_locale_and_an_unknown_zone_are_told_of_and_everything_is_drawn_in_ascii() {
    let mut command = CommandBuilder::new("env");
    let program = env!("CARGO_BIN_EXE_pyile");
    command.args(["LC_ALL=de_DE.ISO-8859-1", "TZ=Nowhere/Town", program, "demo"]);
    let mut term = Term::start(command, (35, 120));
    term.see("de_DE.ISO-8859-1 is not UTF-8");
    term.see("I repeat what I am told");
    term.keys("caf\u{e9} \u{65e5}\r");
    term.see("cafe ?");
    assert!(term.raw.is_ascii(), "{}", String::from_utf8_lossy(&term.raw));
    assert!(term.shows("+-") && term.shows("* "), "{}", term.rows().join("\n"));
    term.child.kill().unwrap();
    let history = std::process::Command::new(program)
        .args(["history", "--data-dir"])
        .arg(term.dir.path())
        .env("TZ", "Nowhere/Town")
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&history.stderr).contains("Nowhere/Town"), "{history:?}");
}

#[test]
fn a_program_that_was_stopped_takes_the_terminal_again() {
    let mut term = Term::pyile(&[]);
    term.see("Demo");
    let pid = term.child.process_id().unwrap().to_string();
    let signal = |name: &str| {
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    let taken = |term: &Term| term.raw.windows(8).filter(|part| part == b"\x1b[?1049h").count();
    assert_eq!(taken(&term), 1);
    signal("-STOP");
    signal("-CONT");
    term.wait("the terminal to be taken again", |term| taken(term) == 2 && term.shows("Demo"));
    signal("-QUIT");
    assert_eq!(term.ended().0, 0);
}

#[test]
fn a_terminal_that_is_gone_ends_the_program_on_the_launch_screen_too() {
    let dir = tempfile::tempdir().unwrap();
    let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).unwrap();
    // Nobody tells it: the signal is ignored, as with nohup.
    let mut command = CommandBuilder::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\"", env!("CARGO_BIN_EXE_pyile")]);
    command.env("TERM", "xterm-256color");
    command.env("PYILE_DATA_DIR", dir.path());
    command.env("XDG_CONFIG_HOME", dir.path());
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().unwrap();
    let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains("Host") {
        let count = reader.read(&mut buffer).unwrap();
        seen.extend(&buffer[..count]);
    }
    drop((reader, pair.master));
    let mut killer = child.clone_killer();
    let (tx, ended) = channel();
    std::thread::spawn(move || tx.send(child.wait()));
    if ended.recv_timeout(DEADLINE).is_err() {
        killer.kill().unwrap();
        panic!("it goes on without a terminal");
    }
}

#[test]
fn a_terminal_without_a_size_is_taken_for_the_usual_one_until_it_tells_its_own() {
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_pyile"));
    command.args(["demo"]);
    let mut term = Term::start(command, (0, 0));
    term.see("I repeat what I am told");
    term.resize((35, 120));
    term.wait("the whole width", |term| term.rows().iter().any(|row| row.chars().count() > 100));
    term.child.kill().unwrap();
}

/// A program that is named as the editor: says so, waits for a line, and puts it into the file.
#[cfg(unix)]
fn editor() -> (TempDir, String) {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("editor");
    let script = "#!/bin/sh\necho; echo \"$1 has $2\" | sed 's/pyile-.*has/has/'; cat \"$2\"; read line; echo \"+ $line\" >> \"$2\"\n";
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    (dir, format!("{} --with", path.display()))
}

#[test]
fn a_draft_is_written_in_an_editor_while_the_network_goes_on_and_outlives_a_crash() {
    let (_script, editor) = editor();
    let hosting = || {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_pyile"));
        command.args(["host", "127.0.0.1:0", "--alias", "ann"]);
        command.env("VISUAL", &editor);
        command
    };
    let mut command = hosting();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), "open sesame").unwrap();
    command.args(["--password-file", &password.path().display().to_string()]);
    let mut ann = Term::start(command, (24, 80));
    ann.see("Nobody else is here yet");
    let row = ann.rows().into_iter().find(|row| row.contains("pyile join ")).unwrap();
    let addr = row.split("pyile join ").nth(1).unwrap().split([' ', '│']).next().unwrap().to_owned();
    ann.keys("begun here");
    ann.see("begun here");
    ann.keys("\x18");
    ann.see("--with has");
    // Somebody joins meanwhile, and a key that interrupts is not this program's.
    let mut bob = Starting::new("bob", &["join", &addr]).password("open sesame").start();
    bob.event("authenticated");
    bob.say(serde_json::json!({"cmd": "send", "to": "everyone", "text": "are you there?"}));
    bob.wait_for("delivery", |event| event["event"] == "delivery" && event["status"] == "delivered");
    assert!(!ann.shows("are you there?"), "the terminal is the editor's");
    ann.keys("ended there\r");
    ann.see("+ ended there");
    ann.see("are you there?");
    ann.keys("!");
    ann.see("+ ended there!");
    // Kept a moment later, and there again after a crash.
    let file = ann.dir.path().join("default/history.db");
    let kept = |file: &std::path::Path| {
        let db = rusqlite::Connection::open(file).unwrap();
        db.query_row("SELECT text FROM draft", [], |row| row.get::<_, String>(0)).unwrap_or_default()
    };
    let deadline = Instant::now() + DEADLINE;
    while !kept(&file).ends_with("ended there!") {
        assert!(Instant::now() < deadline, "the draft is never kept");
        std::thread::yield_now();
    }
    ann.child.kill().unwrap();
    ann.child.wait().unwrap();
    let dir = std::mem::replace(&mut ann.dir, tempfile::tempdir().unwrap());
    let mut ann = Term::start_in(dir, hosting(), (24, 80));
    ann.see("+ ended there!");
}
