//! The terminal: taken over as a whole, and given back whatever happens.
//!
//! Only the screen's own task may restore it: a panic in the background must not tear the screen down under a
//! running one.

use std::{
    io::{self, Stdout, Write as _},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crossterm::{
    clipboard::CopyToClipboard,
    cursor::{MoveTo, Show},
    event::{
        self, DisableBracketedPaste, DisableFocusChange, DisableMouseCapture, EnableBracketedPaste,
        EnableFocusChange, EnableMouseCapture, Event, KeyboardEnhancementFlags, PopKeyboardEnhancementFlags,
        PushKeyboardEnhancementFlags,
    },
    execute,
    style::Print,
    terminal::{
        Clear, ClearType, DisableLineWrap, EnableLineWrap, EnterAlternateScreen, LeaveAlternateScreen,
        SetTitle, disable_raw_mode, enable_raw_mode,
    },
};
use ratatui::{Frame, Terminal};
use tokio::sync::mpsc;

pub use self::writer::Link;
use self::{keys::Keys, writer::Writer};
use crate::model::limits;

mod keys;
pub mod writer;

/// The terminal while the screen has it. Dropping it gives it back.
pub struct Guard {
    terminal: Terminal<Writer<Stdout>>,
    is_ascii: bool,
    /// The mouse is the program's.
    has_mouse: bool,
    /// How the terminal was set when another program was given it.
    #[cfg(unix)]
    lent: Option<rustix::termios::Termios>,
}

/// What a terminal is taken for that says it has no columns or rows, as some consoles do until they are told.
const USUAL: (u16, u16) = (80, 24);

fn size() -> io::Result<(u16, u16)> {
    let (columns, rows) = crossterm::terminal::size()?;
    Ok(if columns > 0 && rows > 0 { (columns, rows) } else { USUAL })
}

impl Guard {
    /// Takes the terminal over; `is_ascii` when it shows nothing else, `has_mouse` when what the mouse does is told.
    pub fn take(is_ascii: bool, has_mouse: bool) -> io::Result<Self> {
        enter(has_mouse)?;
        let terminal = Terminal::new(Writer::new(io::stdout(), size).ascii(is_ascii))?;
        Ok(Self {
            terminal,
            is_ascii,
            has_mouse,
            #[cfg(unix)]
            lent: None,
        })
    }

    /// Gives the terminal to another program, until it is taken back with [`Self::retake`].
    pub fn lend(&mut self) {
        leave();
        #[cfg(unix)]
        {
            self.lent = rustix::termios::tcgetattr(io::stdin()).ok();
        }
    }

    /// Whether nothing but ASCII is drawn from now on.
    pub fn set_ascii(&mut self, is_ascii: bool) -> io::Result<()> {
        if std::mem::replace(&mut self.is_ascii, is_ascii) == is_ascii {
            return Ok(());
        }
        self.clear()
    }

    /// Draws a frame, with the links that are drawn in it.
    pub fn draw(&mut self, render: impl FnOnce(&mut Frame<'_>) -> Vec<Link>) -> io::Result<()> {
        let mut links = Vec::new();
        self.terminal.draw(|frame| links = render(frame))?;
        self.terminal.backend_mut().link(links)
    }

    /// Has the terminal tell of something, also where it is not in sight: OSC 777 where terminals know that, else OSC 9.
    pub fn notify(&mut self, text: &str) -> io::Result<()> {
        let text = self.plain(text);
        let knows_777 = std::env::var("TERM")
            .is_ok_and(|term| term.starts_with("rxvt") || term.starts_with("foot"))
            || std::env::var_os("VTE_VERSION").is_some();
        let mut stdout = io::stdout();
        if knows_777 {
            write!(stdout, "\x1b]777;notify;pyile;{}\x1b\\", text.replace(';', ","))?;
        } else {
            write!(stdout, "\x1b]9;{text}\x1b\\")?;
        }
        stdout.flush()
    }

    /// A text without what could be a control character in a locale of eight bits.
    fn plain(&self, text: &str) -> String {
        let is_plain = |c: &char| if self.is_ascii { matches!(c, ' '..='~') } else { !c.is_control() };
        text.chars().map(|c| if is_plain(&c) { c } else { '?' }).collect()
    }

    /// Columns and rows.
    pub fn size(&self) -> io::Result<(u16, u16)> {
        size()
    }

    /// Forgets what the terminal shows, so that the next frame is drawn as a whole.
    pub fn clear(&mut self) -> io::Result<()> {
        *self.terminal.backend_mut() = Writer::new(io::stdout(), size).ascii(self.is_ascii);
        self.terminal.clear()
    }

    /// Puts a text on the clipboard (OSC 52).
    pub fn copy(&mut self, text: &str) -> io::Result<()> {
        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))
    }

    /// Calls the window so.
    pub fn title(&mut self, title: &str) -> io::Result<()> {
        let title = self.plain(title);
        execute!(io::stdout(), SetTitle(title))
    }

    /// Rings the bell.
    pub fn bell(&mut self) -> io::Result<()> {
        let mut stdout = io::stdout();
        stdout.write_all(b"\x07")?;
        stdout.flush()
    }

    /// Gives the terminal back until the shell continues this process.
    #[cfg(unix)]
    pub fn suspend(&mut self) -> io::Result<()> {
        leave();
        // What stands beside this program in a pipe stops with it, as it would at any other's Ctrl-Z.
        rustix::process::kill_current_process_group(rustix::process::Signal::TSTP)?;
        enter(self.has_mouse)?;
        self.clear()
    }

    /// The shell continues this process, and may have used the terminal meanwhile: takes it over again.
    pub fn retake(&mut self) -> io::Result<()> {
        leave();
        // A program that crashed may have left it in any state.
        #[cfg(unix)]
        if let Some(before) = self.lent.take() {
            rustix::termios::tcsetattr(io::stdin(), rustix::termios::OptionalActions::Now, &before)?;
        }
        enter(self.has_mouse)?;
        self.clear()
    }

    /// There is no job control here.
    #[cfg(not(unix))]
    pub fn suspend(&mut self) -> io::Result<()> {
        self.clear()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        leave();
    }
}

fn enter(has_mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::Release);
    let entered = execute!(
        io::stdout(),
        // The window's own title comes back at the end.
        Print("\x1b[22;2t"),
        EnterAlternateScreen,
        // Where there is no other screen, what stood here would show through.
        Clear(ClearType::All),
        // What does not fit into the last column must not go on in the next row.
        DisableLineWrap,
        EnableBracketedPaste,
        EnableFocusChange,
        // Terminals that do not know it ignore it; the others tell Shift-Enter from Enter.
        PushKeyboardEnhancementFlags(KeyboardEnhancementFlags::DISAMBIGUATE_ESCAPE_CODES)
    );
    let entered =
        entered.and_then(|()| if has_mouse { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) });
    if entered.is_err() {
        leave();
    }
    entered
}

/// The terminal is taken over. Giving it back a second time would wipe what stands there since.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Undoes [`enter`], as far as the terminal is still there.
fn leave() {
    if !TAKEN.swap(false, Ordering::AcqRel) {
        return;
    }
    let _ = execute!(
        io::stdout(),
        PopKeyboardEnhancementFlags,
        DisableMouseCapture,
        DisableFocusChange,
        DisableBracketedPaste,
        EnableLineWrap,
        Clear(ClearType::All),
        MoveTo(0, 0),
        LeaveAlternateScreen,
        Print("\x1b[23;2t"),
        Show
    );
    let _ = disable_raw_mode();
}

/// Makes a panic of the screen's own thread give the terminal back before it is reported.
pub fn restore_on_panic() {
    let report = std::panic::take_hook();
    let screen = std::thread::current().id();
    std::panic::set_hook(Box::new(move |panic| {
        if std::thread::current().id() == screen {
            leave();
            report(panic);
        } else {
            tracing::error!(%panic, "a background task failed");
        }
    }));
}

/// What happens at the terminal.
#[derive(Debug)]
pub enum Happening {
    /// A key, a paste, another size.
    Event(Event),
    /// The terminal is no more.
    Gone,
}

/// What happens at the terminal, from threads of their own: a key is there as soon as it is pressed.
pub struct Keyboard {
    /// What happens.
    pub events: mpsc::Receiver<Happening>,
    pause: Arc<Pause>,
}

/// Whether keys are another program's now, and whether nobody reads them here.
#[derive(Default)]
struct Pause {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Pause {
    fn change(&self, change: impl FnOnce(&mut (bool, bool))) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn wait_while(&self, is_so: impl Fn(&(bool, bool)) -> bool) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, limits::KEYS_PARKED, |state| is_so(state));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Of the thread that reads: waits while keys are another program's.
    fn park(&self) {
        let is_wanted = || self.state.lock().unwrap_or_else(PoisonError::into_inner).0;
        while is_wanted() {
            self.change(|state| state.1 = true);
            self.wait_while(|(is_wanted, _)| *is_wanted);
        }
        self.change(|state| state.1 = false);
    }
}

impl Keyboard {
    /// Watches the keyboard of this process's terminal.
    pub fn watch() -> io::Result<Self> {
        let (tx, events) = mpsc::channel(limits::KEYS_WAITING);
        watch(tx.clone())?;
        let pause = Arc::new(Pause::default());
        let parking = pause.clone();
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
            let mut keys = Keys::default();
            while let Ok(events) = at_once() {
                for event in keys.take(events) {
                    if tx.blocking_send(Happening::Event(event)).is_err() {
                        return;
                    }
                }
                parking.park();
            }
            // Reading again would spin.
            let _ = tx.blocking_send(Happening::Gone);
        })?;
        Ok(Self { events, pause })
    }

    /// Leaves the keys to another program, until [`Self::resume`]. What was pressed before is dropped.
    pub fn pause(&mut self) {
        self.pause.change(|state| state.0 = true);
        // Whoever waits for a key is woken by word of another size.
        #[cfg(unix)]
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::WINCH);
        self.pause.wait_while(|(_, is_parked)| !is_parked);
        while self.events.try_recv().is_ok() {}
    }

    /// Reads the keys again.
    pub fn resume(&self) {
        self.pause.change(|state| state.0 = false);
    }
}

/// Waits for something, and gives everything that has come with it.
fn at_once() -> io::Result<Vec<Event>> {
    let mut events = vec![event::read()?];
    loop {
        let wait = if keys::ends_a_line(&events) { limits::PASTE_PAUSE } else { limits::KEY_PAUSE };
        if events.len() >= limits::KEYS_AT_ONCE || !event::poll(wait)? {
            return Ok(events);
        }
        events.push(event::read()?);
    }
}

/// Tells when the terminal is no more. Whoever only reads from it may wait for ever then, or spin.
#[cfg(unix)]
fn watch(gone: mpsc::Sender<Happening>) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    std::thread::Builder::new().name("terminal".to_owned()).spawn(move || {
        let terminal = io::stdin();
        loop {
            // Only that it is gone is of interest, which is always told.
            let mut fds = [PollFd::new(&terminal, PollFlags::empty())];
            match poll(&mut fds, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
        let _ = gone.blocking_send(Happening::Gone);
    })?;
    Ok(())
}

#[cfg(not(unix))]
fn watch(_: mpsc::Sender<Happening>) -> io::Result<()> {
    Ok(())
}
