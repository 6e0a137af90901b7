//! Screens in a known state, and their pictures.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "each test file uses a part"
)]

use std::{
    fmt::Write as _,
    net::SocketAddrV4,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use pyile::{
    api::{HistoryEvent, InviteInfo, NodeEvent, StoreEvent},
    app::{Defaults, Effect, Event, State, update},
    model::{
        Alias, Attempt, Ban, CloseReason, DeliveryStatus, Invite, KnownHost, Liveness, MessageId, NetworkId,
        Pass, Peer, PeerId, Recipient, Role, SafeText, Summary, Timestamp, Wire,
    },
    ui,
};
use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Buffer,
    style::{Color, Modifier},
};

/// 14:02 on a Friday.
pub const NOW: Timestamp = Timestamp(1_795_183_320_000_000);

pub fn peer(number: u8, alias: &str) -> Arc<Peer> {
    Arc::new(Peer {
        peer_id: PeerId([number.wrapping_mul(41); 32]),
        alias: Alias::new(alias).unwrap(),
        addr: format!("192.168.1.{number}:50{number:03}").parse().unwrap(),
        role: if number == 1 { Role::Host } else { Role::Member },
        wire: Wire::Native,
        status: None,
    })
}

/// A Python program.
pub fn classic_peer(number: u8, alias: &str) -> Arc<Peer> {
    let addr = SocketAddrV4::new([192, 168, 1, number].into(), 49_500);
    Arc::new(Peer {
        peer_id: PeerId::of_address(addr),
        alias: Alias::new(alias).unwrap(),
        addr: addr.into(),
        role: Role::Member,
        wire: Wire::Classic,
        status: None,
    })
}

pub fn cast() -> Vec<Arc<Peer>> {
    vec![peer(1, "ann"), peer(2, "bob"), peer(3, "carol"), peer(4, "dave")]
}

pub fn launch(size: (u16, u16)) -> State {
    let defaults = Defaults {
        alias: Alias::new("ann").unwrap(),
        listen: "0.0.0.0:4702".parse().unwrap(),
        network: String::new(),
        classic: false,
        announce: true,
        map_port: false,
        knows_classic: false,
        has_kept_password: false,
        offered: None,
        zone: jiff::tz::TimeZone::UTC,
        color: true,
    };
    let recents = vec![KnownHost {
        target: "192.168.1.66:4702".into(),
        peer_id: PeerId([9; 32]),
        network: "lab".into(),
        alias: Alias::new("ann").unwrap(),
        joined: Timestamp(NOW.0 - 3 * 86_400_000_000),
        classic: false,
        network_id: None,
        handed_over: false,
        version: 0,
        deputy: None,
    }];
    State::new(defaults, recents, size, NOW)
}

/// What the host knows of its invite.
pub fn invite_info() -> InviteInfo {
    InviteInfo { id: "mk4x2p".to_owned(), uses: 1, until: Timestamp(NOW.0 + 24 * 3_600_000_000), by: None }
}

/// An invite of the host, for one person and a day.
pub fn invite() -> Invite {
    let addrs = vec!["192.168.1.1:4702".parse().unwrap()];
    Invite { addrs, key: cast()[0].peer_id, pass: Some(Pass::new([0x5a; 16])) }
}

/// The invite is made.
pub fn invited(state: &mut State) {
    let info = invite_info();
    node(state, NOW, NodeEvent::Invites { invites: vec![info.clone()] });
    node(state, NOW, NodeEvent::Invite { link: invite().into(), info: Some(info) });
}

pub fn node(state: &mut State, at: Timestamp, mut event: NodeEvent) -> Vec<Effect> {
    static NEXT: AtomicI64 = AtomicI64::new(0);
    if let NodeEvent::Message { came_at, place, .. } = &mut event {
        (*came_at, *place) = (at, at.0 + NEXT.fetch_add(1, Ordering::Relaxed));
    }
    update(state, at, Event::Node(event))
}

pub fn history(state: &mut State, event: HistoryEvent) -> Vec<Effect> {
    update(state, NOW, Event::Store(StoreEvent::History(event)))
}

pub fn key(state: &mut State, code: KeyCode, modifiers: KeyModifiers) -> Vec<Effect> {
    update(state, NOW, Event::Terminal(TerminalEvent::Key(KeyEvent::new(code, modifiers))))
}

pub fn press(state: &mut State, code: KeyCode) -> Vec<Effect> {
    key(state, code, KeyModifiers::NONE)
}

pub fn ctrl(state: &mut State, c: char) -> Vec<Effect> {
    key(state, KeyCode::Char(c), KeyModifiers::CONTROL)
}

pub fn type_text(state: &mut State, text: &str) {
    for c in text.chars() {
        press(state, KeyCode::Char(c));
    }
}

/// Chooses a line of the launch screen.
pub fn choose(state: &mut State, name: &str) {
    let selected =
        |state: &State| text(&draw(state)).iter().any(|row| row.trim().starts_with(&format!("▌ {name}")));
    for _ in 0..20 {
        if selected(state) {
            press(state, KeyCode::Enter);
            return;
        }
        press(state, KeyCode::Down);
    }
    panic!("no {name} on the launch screen");
}

fn before(minutes: i64) -> Timestamp {
    Timestamp(NOW.0 - minutes * 60_000_000)
}

/// The room that the host has just opened.
pub fn empty_room(size: (u16, u16)) -> State {
    let mut state = launch(size);
    let ann = peer(1, "ann");
    node(
        &mut state,
        NOW,
        NodeEvent::Listening {
            role: Role::Host,
            join_addr: Some("0.0.0.0:4702".parse().unwrap()),
            peer_addr: ann.addr,
            peer_id: ann.peer_id,
            alias: ann.alias.clone(),
            network: SafeText::line("lab"),
            network_id: NetworkId([1; 16]),
        },
    );
    node(&mut state, NOW, NodeEvent::Roster { version: 1, peers: vec![ann] });
    state
}

fn id(author: &Peer, to: Recipient, sequence: u64) -> MessageId {
    MessageId { author: author.peer_id, epoch: 1, to, sequence }
}

pub fn message(from: &Arc<Peer>, to: Recipient, sequence: u64, text: &str, own: bool) -> NodeEvent {
    NodeEvent::Message {
        id: id(from, to, sequence),
        from: from.clone(),
        to,
        text: SafeText::clean(text),
        sent_at: NOW,
        own,
        missed: 0,
        late: false,
        claims: None,
        reference: None,
        came_at: NOW,
        place: sequence.cast_signed(),
    }
}

/// The message with so many missing before it, by somebody that calls itself so.
pub fn with(event: NodeEvent, missed: u64, name: Option<&str>) -> NodeEvent {
    match event {
        NodeEvent::Message { id, from, to, text, sent_at, own, reference, late, came_at, place, .. } => {
            let claims = name.map(SafeText::line);
            NodeEvent::Message {
                id,
                from,
                to,
                text,
                sent_at,
                own,
                missed,
                reference,
                late,
                claims,
                came_at,
                place,
            }
        }
        other => other,
    }
}

/// A room in which something happens.
pub fn room(size: (u16, u16)) -> State {
    let mut state = empty_room(size);
    let peers = cast();
    let [ann, bob, carol, dave] = peers.as_slice() else { unreachable!() };
    for peer in &peers[1..] {
        node(&mut state, before(20), NodeEvent::PeerUp { peer: peer.clone() });
    }
    node(&mut state, before(20), NodeEvent::Roster { version: 4, peers: peers.clone() });
    let all = Recipient::Everyone;
    node(&mut state, before(19), message(bob, all, 1, "morning! is the new build on the bench?", false));
    node(&mut state, before(18), message(ann, all, 1, "since ten minutes. dave has the logs", true));
    for (delivered, peer) in (1..).zip([bob, carol, dave]) {
        let summary = Summary { delivered, total: 3 };
        let event = NodeEvent::Delivery {
            id: id(ann, all, 1),
            reference: None,
            peer: peer.clone(),
            status: DeliveryStatus::Delivered,
            reason: None,
            summary,
        };
        node(&mut state, before(18), event);
    }
    node(
        &mut state,
        before(12),
        message(carol, all, 1, "日本語 works too, and so do 🙂 and e\u{301}", false),
    );
    node(
        &mut state,
        before(9),
        message(
            dave,
            all,
            1,
            "the third run is odd: the sensor says 4.1 V until the relay opens, then nothing for two seconds, then 3.9 V again. ann, can you look?",
            false,
        ),
    );
    node(&mut state, before(8), message(bob, Recipient::Peer(ann.peer_id), 1, "lunch?", false));
    node(&mut state, before(5), message(ann, all, 2, "on my way", true));
    for (peer, status, reason, delivered) in [
        (bob, DeliveryStatus::Delivered, None, 1),
        (carol, DeliveryStatus::Delivered, None, 2),
        (dave, DeliveryStatus::Failed, Some(CloseReason::Kicked.into()), 2),
    ] {
        let summary = Summary { delivered, total: 3 };
        let event = NodeEvent::Delivery {
            id: id(ann, all, 2),
            reference: None,
            peer: peer.clone(),
            status,
            reason,
            summary,
        };
        node(&mut state, before(5), event);
    }
    for (at, rtt) in [900, 1100, 1000, 1300, 4200, 1200, 1000, 950, 1050, 1000].into_iter().enumerate() {
        for (peer, factor) in [(bob, 1), (dave, 14)] {
            let rtt = Some(Duration::from_micros(rtt * factor + at as u64));
            let peer = peer.clone();
            node(
                &mut state,
                before(4),
                NodeEvent::Heartbeat { peer, state: Liveness::Alive, rtt, missed: 0 },
            );
        }
    }
    let suspect = Timestamp(NOW.0 - 7_000_000);
    let heartbeat =
        NodeEvent::Heartbeat { peer: carol.clone(), state: Liveness::Suspect, rtt: None, missed: 3 };
    node(&mut state, suspect, heartbeat);
    let mallory = PeerId([77; 32]);
    let ban = Ban {
        peer_id: Some(mallory),
        alias: Some(Alias::new("mallory").unwrap()),
        addr: None,
        reason: "spam".into(),
        since: before(40),
        prefix: None,
        automatic: false,
    };
    let attempt = Attempt { addr: "192.168.1.77".parse().unwrap(), wrong: 2, left: 1 };
    node(
        &mut state,
        NOW,
        NodeEvent::Admission { bans: vec![ban], attempts: vec![attempt], penalties: Vec::new() },
    );
    state
}

/// What a terminal of the state's size shows.
pub fn draw(state: &State) -> Buffer {
    let (width, height) = state.size;
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| drop(ui::draw(state, frame))).unwrap();
    terminal.backend().buffer().clone()
}

/// The rows of a buffer as text.
pub fn text(buffer: &Buffer) -> Vec<String> {
    let area = buffer.area;
    (0..area.height)
        .map(|y| {
            let mut row = String::new();
            let mut x = 0;
            while x < area.width {
                let symbol = buffer[(x, y)].symbol();
                row.push_str(symbol);
                x += u16::try_from(pyile::app::wrap::width(symbol).max(1)).unwrap();
            }
            row.trim_end().to_owned()
        })
        .collect()
}

const CELL: (f64, f64) = (8.43, 17.0);

/// What a terminal makes of colours: a dark or a light one.
#[derive(Clone, Copy)]
pub struct Paper {
    background: &'static str,
    text: &'static str,
    /// The 16 colours, of which black and white are not used.
    ansi: [&'static str; 16],
}

pub const DARK: Paper = Paper {
    background: "#16181d",
    text: "#d7dae0",
    ansi: [
        "#16181d", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dae0", "#5c6370",
        "#ff7b86", "#b5e890", "#ffd98a", "#8cc8ff", "#e2a0f5", "#7fdbe6", "#ffffff",
    ],
};

pub const LIGHT: Paper = Paper {
    background: "#fdfdfb",
    text: "#24292e",
    ansi: [
        "#24292e", "#c4262e", "#2f7d32", "#9a6700", "#0550ae", "#8250df", "#1b7c83", "#6e7781", "#57606a",
        "#e5534b", "#4d9e50", "#b08800", "#3b82f6", "#a475f9", "#3192aa", "#8c959f",
    ],
};

/// Solarized, whose bright colours are greys: <https://ethanschoonover.com/solarized/>.
const SOLARIZED: [&str; 16] = [
    "#073642", "#dc322f", "#859900", "#b58900", "#268bd2", "#d33682", "#2aa198", "#eee8d5", "#002b36",
    "#cb4b16", "#586e75", "#657b83", "#839496", "#6c71c4", "#93a1a1", "#fdf6e3",
];

pub const SOLARIZED_DARK: Paper = Paper { background: "#002b36", text: "#839496", ansi: SOLARIZED };

pub const SOLARIZED_LIGHT: Paper = Paper { background: "#fdf6e3", text: "#657b83", ansi: SOLARIZED };

impl Paper {
    /// The one that a picture is drawn on.
    fn of(picture: &str) -> Self {
        let is_on = |paper: &&Self| picture.contains(&format!("rx=\"8\" fill=\"{}\"", paper.background));
        let all = [LIGHT, SOLARIZED_DARK, SOLARIZED_LIGHT];
        all.iter().find(is_on).copied().unwrap_or(DARK)
    }

    fn color(&self, color: Color) -> String {
        let named = |at: usize| self.ansi[at].to_owned();
        match color {
            Color::Red => named(1),
            Color::Green => named(2),
            Color::Yellow => named(3),
            Color::Blue => named(4),
            Color::Magenta => named(5),
            Color::Cyan => named(6),
            Color::LightRed => named(9),
            Color::LightGreen => named(10),
            Color::LightYellow => named(11),
            Color::LightBlue => named(12),
            Color::LightMagenta => named(13),
            Color::LightCyan => named(14),
            Color::Indexed(number @ 232..) => {
                let level = 8 + 10 * (number - 232);
                format!("#{level:02x}{level:02x}{level:02x}")
            }
            Color::Indexed(number @ 16..) => {
                let level = |digit: u8| if digit == 0 { 0 } else { 55 + 40 * digit };
                let [r, g, b] = [(number - 16) / 36, (number - 16) / 6 % 6, (number - 16) % 6].map(level);
                format!("#{r:02x}{g:02x}{b:02x}")
            }
            _ => self.text.to_owned(),
        }
    }
}

/// A picture of a buffer on a dark or a light terminal, in a font that every system with one has.
pub fn svg_on(buffer: &Buffer, paper: &Paper) -> String {
    let background = paper.background;
    let area = buffer.area;
    let (width, height) = (f64::from(area.width) * CELL.0 + 20.0, f64::from(area.height) * CELL.1 + 20.0);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{background}\"/>\n\
         <g font-family=\"'DejaVu Sans Mono',monospace\" font-size=\"14\" xml:space=\"preserve\">\n"
    );
    for y in 0..area.height {
        let mut x = 0;
        while x < area.width {
            let cell = &buffer[(x, y)];
            let style = (cell.fg, cell.modifier);
            let start = x;
            if cell.symbol() == "▀" && cell.bg != Color::Reset {
                while x < area.width && buffer[(x, y)] == *cell {
                    x += 1;
                }
                halves(&mut out, (cell.fg, cell.bg), (start, x, y));
                continue;
            }
            let mut run = String::new();
            while x < area.width && (buffer[(x, y)].fg, buffer[(x, y)].modifier) == style {
                let symbol = buffer[(x, y)].symbol();
                let wide = pyile::app::wrap::width(symbol) == 2;
                // Anything but plain text is put exactly where its cell is.
                if (wide || !symbol.is_ascii()) && !run.is_empty() {
                    break;
                }
                run.push_str(symbol);
                x += if wide { 2 } else { 1 };
                if wide || !symbol.is_ascii() {
                    break;
                }
            }
            span(&mut out, &run, style, (start, x, y));
        }
    }
    out.push_str("</g>\n</svg>\n");
    out
}

/// Cells whose upper half has one colour and whose lower half another.
fn halves(out: &mut String, (upper, lower): (Color, Color), (from, to, y): (u16, u16, u16)) {
    let paper = Paper::of(out);
    let (x, top) = (10.0 + f64::from(from) * CELL.0, 10.0 + f64::from(y) * CELL.1);
    let (width, half) = (f64::from(to - from) * CELL.0, CELL.1 / 2.0);
    for (color, top) in [(upper, top), (lower, top + half)] {
        let fill = paper.color(color);
        writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{half:.1}\" fill=\"{fill}\" \
             shape-rendering=\"crispEdges\"/>"
        )
        .unwrap();
    }
}

fn span(out: &mut String, run: &str, (color, modifier): (Color, Modifier), (from, to, y): (u16, u16, u16)) {
    let reversed = modifier.contains(Modifier::REVERSED);
    if run.trim().is_empty() && !reversed {
        return;
    }
    let (x, top) = (10.0 + f64::from(from) * CELL.0, 10.0 + f64::from(y) * CELL.1);
    let paper = Paper::of(out);
    let color = paper.color(color);
    let mut fill = color.clone();
    if reversed {
        let width = f64::from(to - from) * CELL.0;
        writeln!(
            out,
            "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"17\" fill=\"{color}\"/>"
        )
        .unwrap();
        paper.background.clone_into(&mut fill);
    }
    let mut extra = String::new();
    if modifier.contains(Modifier::BOLD) {
        extra.push_str(" font-weight=\"bold\"");
    }
    if modifier.contains(Modifier::ITALIC) {
        extra.push_str(" font-style=\"italic\"");
    }
    if modifier.contains(Modifier::UNDERLINED) {
        extra.push_str(" text-decoration=\"underline\"");
    }
    if modifier.contains(Modifier::DIM) {
        extra.push_str(" opacity=\"0.6\"");
    }
    let text = run.trim_end().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    writeln!(out, "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"{fill}\"{extra}>{text}</text>", top + 13.0).unwrap();
}
