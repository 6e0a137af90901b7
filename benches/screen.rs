//! What the screen costs: from the start to the first screen, from a key to its letter, a frame, bytes to the terminal.
//!
//! `cargo bench --bench screen` prints each figure beside the limit of the same run: a program that only copies the same
//! bytes to the same kind of terminal, and a frame that only copies cells.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "this is a benchmark"
)]

#[path = "../tests/support/scene.rs"]
mod scene;

use std::{
    cell::Cell,
    io::{self, Read as _, Write},
    rc::Rc,
    time::{Duration, Instant},
};

use crossterm::event::{KeyCode, KeyModifiers};
use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};
use pyile::{app::State, model::Recipient, terminal::writer::Writer, ui};
use ratatui::{Terminal, backend::TestBackend};

const SIZE: (u16, u16) = (100, 30);
const LARGE: (u16, u16) = (120, 35);

/// A program in a terminal.
struct Pty {
    reader: Box<dyn io::Read + Send>,
    writer: Box<dyn Write + Send>,
    child: Box<dyn Child + Send + Sync>,
}

impl Pty {
    fn start(program: &str, args: &[&str]) -> Self {
        let size = PtySize { rows: SIZE.1, cols: SIZE.0, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.env("TERM", "xterm-256color");
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let (reader, writer) = (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        // The terminal stays open as long as the reader is.
        Self { reader, writer, child }
    }

    /// Reads until these bytes have come. Gives how many came altogether.
    fn until(&mut self, wanted: &[u8]) -> usize {
        let (mut all, mut buffer) = (Vec::<u8>::new(), [0; 8192]);
        while !all.windows(wanted.len()).any(|window| window == wanted) {
            let count = self.reader.read(&mut buffer).unwrap();
            assert!(count > 0, "it ended before {:?}", String::from_utf8_lossy(wanted));
            all.extend(buffer.iter().take(count));
        }
        all.len()
    }

    fn key(&mut self, key: &[u8]) {
        self.writer.write_all(key).unwrap();
        self.writer.flush().unwrap();
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap()
}

fn ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn row(work: &str, raw: Duration, ours: Duration, aim: &str) {
    let ratio = ours.as_secs_f64() / raw.as_secs_f64();
    println!("| {work} | {} | {} | {ratio:.1} | {aim} |", ms(raw), ms(ours));
}

/// The last words of the launch screen.
const LAST: &[u8] = b"help";

fn pyile(dir: &str) -> Pty {
    Pty::start(env!("CARGO_BIN_EXE_pyile"), &["--data-dir", dir, "--alias", "ann"])
}

fn start_to_screen(dir: &str) {
    let mut bytes = 0;
    // Its end is not measured.
    let ours = (0..31).map(|_| {
        let begun = Instant::now();
        let mut pyile = pyile(dir);
        bytes = pyile.until(LAST);
        begun.elapsed()
    });
    let ours = median(ours.collect());
    let print = format!("head -c {bytes} /dev/zero; printf help");
    let raw = (0..31).map(|_| {
        let begun = Instant::now();
        let mut sh = Pty::start("sh", &["-c", &print]);
        sh.until(LAST);
        begun.elapsed()
    });
    row("start to the first screen", median(raw.collect()), ours, "≤ 5 ms");
}

fn key_to_screen(dir: &str) {
    let letters = || (0..400).map(|number| b'a' + u8::try_from(number % 26).unwrap());
    let mut echo = Pty::start("sh", &["-c", "stty raw -echo; printf ready; exec cat"]);
    echo.until(b"ready");
    let raw = letters().map(|letter| {
        let begun = Instant::now();
        echo.key(&[letter]);
        echo.until(&[letter]);
        begun.elapsed()
    });
    let raw = median(raw.collect());
    // A password's letters are dots. That of a new network is rated at each key.
    row("key to its letter", raw, key_in_password(dir, b"j", b"\t\t"), "as irssi: 0.2 ms");
    row("the same in a password that is rated", raw, key_in_password(dir, b"h", b""), "as irssi: 0.2 ms");
}

/// A key in the password of the form that `opened` opens and where `moves` lead.
fn key_in_password(dir: &str, opened: &[u8], moves: &[u8]) -> Duration {
    let letters = (0..400).map(|number| b'a' + u8::try_from(number % 26).unwrap());
    let mut form = pyile(dir);
    form.until(LAST);
    form.key(opened);
    form.until("Password".as_bytes());
    std::thread::sleep(Duration::from_millis(300));
    for moved in moves {
        form.key(&[*moved]);
        std::thread::sleep(Duration::from_millis(100));
    }
    let ours = letters.map(|letter| {
        let begun = Instant::now();
        form.key(&[letter]);
        form.until("•".as_bytes());
        let took = begun.elapsed();
        form.key(b"\x7f");
        std::thread::sleep(Duration::from_millis(3));
        took
    });
    median(ours.collect())
}

/// A room with enough said in it.
fn room(size: (u16, u16)) -> State {
    let mut state = scene::room(size);
    for number in 1000..1200 {
        say(&mut state, number);
    }
    state
}

/// One of three says something, of another length each time, a minute after the one before.
fn say(state: &mut State, number: u64) {
    const WORDS: [&str; 8] = ["the", "third", "build", "is", "on", "bench", "again,", "now"];
    let place = usize::try_from(number).unwrap();
    let from = scene::peer(u8::try_from(2 + place % 3).unwrap(), ["bob", "carol", "dave"][place % 3]);
    let words = (0..3 + place * 7 % 11).map(|word| WORDS[(place + word * word) % WORDS.len()]);
    let text = words.collect::<Vec<_>>().join(" ");
    let event = scene::message(&from, Recipient::Everyone, number, &text, false);
    scene::node(state, scene::NOW, event);
}

fn frame() {
    let state = room(SIZE);
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    let times = |mut draw: Box<dyn FnMut()>| {
        median(
            (0..2000)
                .map(|_| {
                    let begun = Instant::now();
                    draw();
                    begun.elapsed()
                })
                .collect(),
        )
    };
    let ready = scene::draw(&state);
    let ours = times(Box::new(move || {
        terminal.draw(|frame| drop(ui::draw(&state, frame))).unwrap();
    }));
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    let raw = times(Box::new(move || {
        terminal.draw(|frame| frame.buffer_mut().clone_from(&ready)).unwrap();
    }));
    row("a frame of a room, 100 by 30", raw, ours, "");
}

/// A key and the frame after it, in a draft of so many lines.
fn key_in_a_draft(lines: usize) -> Duration {
    let mut state = room(SIZE);
    for number in 0..lines {
        scene::type_text(
            &mut state,
            &format!("line {number} of a draft of an ordinary length, as people write"),
        );
        scene::key(&mut state, KeyCode::Enter, KeyModifiers::ALT);
    }
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    let one = |_| {
        let begun = Instant::now();
        scene::press(&mut state, KeyCode::Char('x'));
        terminal.draw(|frame| drop(ui::draw(&state, frame))).unwrap();
        begun.elapsed()
    };
    median((0..50).map(one).collect())
}

/// Counts what goes to the terminal.
#[derive(Clone, Default)]
struct Counted(Rc<Cell<usize>>);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set(self.0.get() + bytes.len());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn bytes(size: (u16, u16), of_terminal: fn() -> io::Result<(u16, u16)>) {
    let mut state = room(size);
    let counted = Counted::default();
    let mut terminal = Terminal::new(Writer::new(counted.clone(), of_terminal)).unwrap();
    let mut draw = |state: &State| {
        let before = counted.0.get();
        terminal.draw(|frame| drop(ui::draw(state, frame))).unwrap();
        counted.0.get() - before
    };
    draw(&state);
    let keys: usize = (0..26u8)
        .map(|letter| {
            scene::press(&mut state, KeyCode::Char(char::from(b'a' + letter)));
            draw(&state)
        })
        .sum();
    let (columns, rows) = size;
    println!("| bytes for a typed key, {columns} by {rows} | 1 | {} | | ≤ 4 |", keys / 26);
    let messages: usize = (2000..2100)
        .map(|number| {
            say(&mut state, number);
            draw(&state)
        })
        .sum();
    println!("| bytes for a message that comes, {columns} by {rows} | 40 | {} | | ≤ 700 |", messages / 100);
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("data").display().to_string();
    println!("| work | raw | pyile | ratio | aim |");
    println!("|---|---|---|---|---|");
    start_to_screen(&dir);
    key_to_screen(&dir);
    frame();
    row("a key in a draft of 500 lines, beside one of 1", key_in_a_draft(1), key_in_a_draft(500), "no more");
    bytes(SIZE, || Ok(SIZE));
    bytes(LARGE, || Ok(LARGE));
}
