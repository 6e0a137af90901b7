//! Bad disks: full, read-only, damaged. Small file systems are mounted for it, which only root may: without it the
//! tests of this file that need one say so and do nothing.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "these are tests")]

mod support;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use serde_json::{Value, json};
use support::{Peer, Starting, history_of};
use tempfile::TempDir;

/// A directory with a file system of its own.
struct Disk {
    dir: Arc<TempDir>,
}

impl Disk {
    /// A small one, if this user may mount it.
    fn small(test: &str) -> Option<Self> {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let mounted = mount(&["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"], dir.path());
        if mounted {
            return Some(Self { dir });
        }
        // Past the test harness, which would swallow it.
        let _ = writeln!(io::stderr(), "SKIPPED: {test} needs root, to mount a small file system");
        None
    }

    fn remount(&self, options: &str) {
        assert!(mount(&["-o", &format!("remount,{options}")], self.dir.path()), "{options}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.dir.path()).status();
    }
}

fn mount(args: &[&str], at: &Path) -> bool {
    let status = Command::new("mount").args(args).arg(at).stderr(std::process::Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn is_message(event: &Value) -> bool {
    event["event"] == "message" && event["own"] == false
}

#[test]
fn with_a_full_disk_talk_goes_on_and_the_history_follows_when_there_is_room() {
    let Some(disk) = Disk::small("with_a_full_disk") else { return };
    let mut host = Starting::host("host").in_dir(&disk.dir).args(&["--rate", "0"]).start();
    assert_eq!(host.event("history")["state"], "saved");
    let mut ann = Starting::join(&host, "ann").start();
    ann.event("authenticated");
    let long = "x".repeat(10_000);
    for number in 0..200 {
        let said = format!("{number} {long}");
        ann.say(json!({"cmd": "send", "to": "host", "text": said, "ref": number.to_string()}));
    }
    for number in 0..200 {
        let message = host.wait_for("the next one", is_message);
        assert!(message["text"].as_str().unwrap().starts_with(&format!("{number} ")), "in order, all of it");
    }
    host.rewind();
    let unsaved =
        host.wait_for("unsaved", |event| event["event"] == "history" && event["state"] == "unsaved");
    assert!(unsaved["message"].as_str().unwrap().contains("the disk is full"), "{unsaved}");
    let storage = |event: &Value| event["event"] == "error" && event["kind"] == "storage";
    assert_eq!(host.count(storage), 1, "said once");
    // Nothing is called delivered that is not on the disk.
    ann.wait_for("waits", |event| event["ref"] == "199" && event["status"] == "queued");
    assert_eq!(ann.count(|event| event["ref"] == "199" && event["status"] == "delivered"), 0);
    // The host goes on talking, too.
    host.say(json!({"cmd": "send", "to": "ann", "text": "my disk is full"}));
    ann.wait_for("the host's word", |event| event["text"] == "my disk is full");
    disk.remount("size=16m");
    host.wait_for("saved", |event| event["event"] == "history" && event["state"] == "saved");
    ann.wait_for("delivered", |event| event["ref"] == "199" && event["status"] == "delivered");
    let kept = history_of(&disk.dir, &[]);
    let theirs: Vec<&str> =
        kept.iter().filter(|line| line["own"] == false).map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(theirs.len(), 200, "each once");
    for (number, text) in theirs.iter().enumerate() {
        assert_eq!(*text, format!("{number} {long}"), "nothing cut short");
    }
    assert!(kept.iter().any(|line| line["text"] == "my disk is full"));
    assert_eq!(host.leave(), 0);
}

#[test]
fn a_disk_that_is_full_at_the_start_delivers_nothing_before_it_has_room() {
    let Some(disk) = Disk::small("a_disk_that_is_full_at_the_start") else { return };
    let mut host = Starting::host("host").start();
    let mut first = Starting::join(&host, "ann").in_dir(&disk.dir).start();
    first.event("authenticated");
    host.say(json!({"cmd": "send", "to": "ann", "text": "before"}));
    host.wait_for("delivered", |event| event["event"] == "delivery" && event["status"] == "delivered");
    assert_eq!(first.leave(), 0);
    let filler = disk.dir.path().join("filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let mut ann = Starting::join(&host, "ann").in_dir(&disk.dir).no_password().start();
    let history = ann.event("history");
    assert_eq!(history["state"], "unsaved");
    assert!(history["message"].as_str().unwrap().contains("the disk is full"), "{history}");
    host.say(json!({"cmd": "send", "to": "ann", "text": "to a full disk", "ref": "full"}));
    ann.wait_for("the message", |event| event["text"] == "to a full disk");
    host.wait_for("queued", |event| event["ref"] == "full" && event["status"] == "queued");
    assert_eq!(host.count(|event| event["ref"] == "full" && event["status"] == "delivered"), 0);
    ann.kill();
    fs::remove_file(&filler).unwrap();
    let mut ann = Starting::join(&host, "ann").in_dir(&disk.dir).no_password().start();
    assert_eq!(ann.event("history")["state"], "saved");
    host.wait_for("delivered", |event| event["ref"] == "full" && event["status"] == "delivered");
    let texts: Vec<Value> = history_of(&disk.dir, &[]).iter().map(|line| line["text"].clone()).collect();
    assert_eq!(texts, ["before", "to a full disk"]);
}

#[test]
fn on_a_disk_that_can_only_be_read_talk_goes_on_and_nothing_is_delivered_until_it_can_be_written() {
    let Some(disk) = Disk::small("a_disk_that_can_only_be_read") else { return };
    let mut host = Starting::host("host").start();
    let mut first = Starting::join(&host, "ann").in_dir(&disk.dir).start();
    let key = first.event("listening")["peer_id"].clone();
    assert_eq!(first.leave(), 0);
    disk.remount("ro");
    let mut ann = Starting::join(&host, "ann").in_dir(&disk.dir).no_password().start();
    assert_eq!(ann.event("listening")["peer_id"], key);
    let history = ann.event("history");
    assert_eq!(history["state"], "unsaved");
    assert!(history["message"].as_str().unwrap().contains("is not being saved"), "{history}");
    ann.say(json!({"cmd": "send", "to": "everyone", "text": "hello"}));
    host.wait_for("the message", |event| event["text"] == "hello");
    host.say(json!({"cmd": "send", "to": "ann", "text": "hi", "ref": "hi"}));
    ann.wait_for("the message", |event| event["text"] == "hi");
    host.wait_for("queued", |event| event["ref"] == "hi" && event["status"] == "queued");
    let about = |event: &Value| {
        event["kind"] == "storage" && event["message"].as_str().unwrap().contains("is not being saved")
    };
    assert_eq!(ann.count(about), 1, "said once");
    assert_eq!(host.count(|event| event["ref"] == "hi" && event["status"] == "delivered"), 0);
    disk.remount("rw");
    host.wait_for("delivered", |event| event["ref"] == "hi" && event["status"] == "delivered");
    ann.wait_for("it is saved", |event| event["event"] == "history" && event["state"] == "saved");
    assert_eq!(ann.leave(), 0);
    let texts: Vec<Value> = history_of(&disk.dir, &[]).iter().map(|line| line["text"].clone()).collect();
    assert_eq!(texts, ["hello", "hi"]);
}

/// Fills a file with noise.
fn overwrite(path: &Path) {
    let size = usize::try_from(fs::metadata(path).unwrap().len()).unwrap();
    let noise: Vec<u8> =
        (0_u32..).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).take(size).collect();
    fs::write(path, noise).unwrap();
}

fn set_aside(peer: &Peer) -> Vec<String> {
    let names = fs::read_dir(peer.profile_dir()).unwrap().map(|entry| entry.unwrap().file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    let is_database = |name: &String| Path::new(name).extension().is_some_and(|end| end == "db");
    names.filter(|name| name.starts_with("history-set-aside") && is_database(name)).collect()
}

#[test]
fn a_damaged_history_is_set_aside_and_bans_and_key_stay() {
    let mut host = Starting::host("host").start();
    let key = host.event("listening")["peer_id"].clone();
    host.say(json!({"cmd": "ban", "addr": "10.9.9.9", "reason": "spam"}));
    host.event("banned");
    host.say(json!({"cmd": "send", "to": "everyone", "text": "before"}));
    host.event("message");
    assert_eq!(host.leave(), 0);
    let path = host.profile_dir().join("history.db");
    overwrite(&path);
    let before = fs::read(&path).unwrap();
    let mut again = Starting::host("host").profile_of(&host).no_password().start();
    assert_eq!(again.event("listening")["peer_id"], key);
    assert_eq!(again.event("admission")["bans"][0]["addr"], "10.9.9.9");
    let error = again.event("error");
    let names = set_aside(&again);
    assert_eq!((names.len(), &error["kind"]), (1, &json!("storage")));
    assert!(error["message"].as_str().unwrap().contains(&names[0]), "{error}");
    assert_eq!(fs::read(again.profile_dir().join(&names[0])).unwrap(), before, "as it was");
    again.say(json!({"cmd": "send", "to": "everyone", "text": "after"}));
    again.event("message");
    assert_eq!(again.leave(), 0);
    let texts: Vec<Value> = history_of(&host.dir(), &[]).iter().map(|line| line["text"].clone()).collect();
    assert_eq!(texts, ["after"]);
    // The next start has nothing more to say about it.
    let mut third = Starting::host("host").profile_of(&host).no_password().start();
    assert_eq!(third.event("history")["message"], "");
}

/// A standard input that says to leave.
fn leave(dir: &Path) -> fs::File {
    let path = dir.join("leave");
    fs::write(&path, "{\"cmd\":\"leave\"}\n").unwrap();
    fs::File::open(path).unwrap()
}

/// A library that makes the file system poor, for one process; nothing where there is no compiler.
fn shim(dir: &Path, code: &str) -> Option<PathBuf> {
    let (source, library) = (dir.join("shim.c"), dir.join("shim.so"));
    fs::write(&source, code).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    built.is_ok_and(|status| status.success()).then_some(library)
}

#[test]
fn a_file_system_that_can_neither_lock_nor_sync_a_directory_is_told_of_and_serves() {
    let dir = tempfile::tempdir().unwrap();
    let code = "#define _GNU_SOURCE\n#include <errno.h>\n#include <sys/stat.h>\n#include <sys/syscall.h>\n\
                #include <unistd.h>\nint flock(int fd, int how) { errno = ENOLCK; return -1; }\n\
                int fsync(int fd) { struct stat s; if (!fstat(fd, &s) && S_ISDIR(s.st_mode)) { errno = EINVAL; \
                return -1; } return syscall(SYS_fsync, fd); }\n";
    let Some(library) = shim(dir.path(), code) else {
        eprintln!("SKIPPED: there is no C compiler");
        return;
    };
    let output = Command::new(env!("CARGO_BIN_EXE_pyile"))
        .args(["host", "--listen", "127.0.0.1:0", "--json", "--data-dir"])
        .arg(dir.path().join("data"))
        .env("LD_PRELOAD", library)
        .env("PYILE_PASSWORD", "open sesame")
        .stdin(leave(dir.path()))
        .output()
        .unwrap();
    let (told, events) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(told.contains("cannot lock: end this program before you start another"), "{told}");
    assert!(events.contains("\"listening\"") && !events.contains("\"storage\""), "{events}");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn limits_of_files_and_memory_end_in_words_and_not_in_a_signal() {
    let dir = tempfile::tempdir().unwrap();
    let run = |limit: &str| {
        let program = env!("CARGO_BIN_EXE_pyile");
        let script = format!("{limit}; exec \"$0\" host --listen 127.0.0.1:0 --json --data-dir \"$1\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, program]).arg(dir.path().join("data"));
        command.env("PYILE_PASSWORD", "open sesame").stdin(leave(dir.path())).output().unwrap()
    };
    let output = run("ulimit -f 16");
    let events = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(events.contains("\"listening\"") && events.contains("\"unsaved\""), "{events}");
    let output = run("ulimit -v 300000");
    let events = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(events.contains("ulimit -v unlimited"), "{events}");
}
