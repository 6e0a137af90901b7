//! What ratatui's frames become on the terminal: as few bytes as it takes, one write a frame, and no ghosts.
//!
//! By hand, since the stock backend writes 40 bytes for a typed character, asks the terminal where its cursor is (the
//! answer would be taken for keys), and trusts that the terminal counts cells as the program does. They count alike
//! for most text, but not for joined emoji, flags and conjuncts ([`width::is_disputed`]). A row with such a cluster is
//! therefore written anew as a whole when anything in it changes, with the cursor put right behind each of them:
//! whatever the terminal has drawn too far is overwritten, and nothing old stays where it has drawn too little.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use ratatui::{
    backend::{Backend, ClearType, WindowSize},
    buffer::{Cell, CellWidth as _},
    layout::{Position, Size},
    style::{Color, Modifier},
};

use unicode_normalization::UnicodeNormalization as _;

pub use self::links::Link;
use self::{links::Links, scroll::Scroll};
use crate::width;

mod links;
mod scroll;

/// A frame of more bytes than this is shown at once by terminals that can.
const SYNCHRONIZED_FROM: usize = 512;

/// Going to another column of the row takes five bytes.
const BRIDGED: u16 = 4;

type Look = (Color, Color, Modifier);

/// What a blank shows too.
const SEEN_ON_BLANKS: Modifier =
    Modifier::UNDERLINED.union(Modifier::REVERSED).union(Modifier::CROSSED_OUT).union(Modifier::SLOW_BLINK);

/// A row as the terminal shows it.
#[derive(Clone, Default)]
struct Row {
    cells: Vec<Cell>,
    /// Terminals do not agree on the width of something in it.
    is_disputed: bool,
}

impl Row {
    /// Notes what a cell shows now. What a wide one covers is blank.
    fn put(&mut self, x: usize, cell: &Cell) {
        let width = usize::from(cell.cell_width()).max(1);
        if self.cells.len() < x + width {
            self.cells.resize(x + width, Cell::EMPTY);
        }
        for (covered, place) in self.cells.iter_mut().skip(x).take(width).enumerate() {
            *place = if covered == 0 { cell.clone() } else { Cell::EMPTY };
        }
    }

    /// How many cells are to be written for this row where `before` stands.
    fn differs(&self, before: &Self) -> usize {
        self.changed(before).count()
    }

    /// The cells that are other than before, from left to right. Where a wide one stood, all that it covered counts.
    fn changed<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = (u16, &'a Cell)> {
        let blank = &Cell::EMPTY;
        let length = self.cells.len().max(before.cells.len());
        let (mut covered, mut uncovered) = (0, 0);
        (0..length).filter_map(move |x| {
            let (cell, old) = (self.cells.get(x).unwrap_or(blank), before.cells.get(x).unwrap_or(blank));
            let is_other = cell.symbol() != old.symbol()
                || (cell.fg, cell.bg, cell.modifier) != (old.fg, old.bg, old.modifier);
            if is_other {
                uncovered = uncovered.max(x + usize::from(old.cell_width()).max(1));
            }
            if x < covered {
                return None;
            }
            covered = x + usize::from(cell.cell_width()).max(1);
            (is_other || x < uncovered).then(|| (u16::try_from(x).unwrap_or(u16::MAX), cell))
        })
    }

    /// The cells from left to right, without those that others cover.
    fn shown(&self) -> impl Iterator<Item = (u16, &Cell)> {
        let mut next = 0;
        let is_shown = move |(x, cell): &(usize, &Cell)| {
            let is_shown = *x >= next;
            if is_shown {
                next = x + usize::from(cell.cell_width()).max(1);
            }
            is_shown
        };
        let cells = self.cells.iter().enumerate().filter(is_shown);
        cells.map(|(x, cell)| (u16::try_from(x).unwrap_or(u16::MAX), cell))
    }
}

/// The terminal as ratatui draws on it.
pub struct Writer<W> {
    to: W,
    size: fn() -> io::Result<(u16, u16)>,
    /// The bytes of this frame.
    frame: Vec<u8>,
    rows: Vec<Row>,
    /// Where the terminal's cursor is, where that is certain.
    cursor: Option<(u16, u16)>,
    is_cursor_shown: Option<bool>,
    look: Option<Look>,
    links: Links,
    /// The terminal moves rows in this frame.
    is_scrolled: bool,
    /// The terminal shows nothing but ASCII.
    is_ascii: bool,
}

impl<W: Write> Writer<W> {
    /// A writer to a terminal that has this size, in columns and rows, and of which nothing is known.
    pub fn new(to: W, size: fn() -> io::Result<(u16, u16)>) -> Self {
        Self {
            to,
            size,
            frame: Vec::new(),
            rows: Vec::new(),
            cursor: None,
            is_cursor_shown: None,
            look: None,
            links: Links::default(),
            is_scrolled: false,
            is_ascii: false,
        }
    }

    /// Whether the terminal shows nothing but ASCII: what else there is to show is drawn as what comes nearest.
    #[must_use]
    pub fn ascii(self, is_ascii: bool) -> Self {
        Self { is_ascii, ..self }
    }

    fn push(&mut self, text: &str) {
        self.frame.extend_from_slice(text.as_bytes());
    }

    fn go(&mut self, x: u16, y: u16) {
        match self.cursor {
            Some(at) if at == (x, y) => {}
            Some((_, row)) if row == y && x == 0 => self.push("\r"),
            Some((_, row)) if row == y => self.push(&format!("\x1b[{}G", u32::from(x) + 1)),
            _ => self.push(&format!("\x1b[{};{}H", u32::from(y) + 1, u32::from(x) + 1)),
        }
        self.cursor = Some((x, y));
    }

    /// Goes a few cells to the right by writing again what stands there, where that is shorter.
    fn bridge(&mut self, x: u16, y: u16) {
        let Some((from, _)) =
            self.cursor.filter(|(from, row)| *row == y && *from < x && x - *from <= BRIDGED)
        else {
            return;
        };
        let Some(row) = self.rows.get(usize::from(y)) else { return };
        let between = row.cells.get(usize::from(from)..usize::from(x)).unwrap_or_default();
        // A blank shows nothing of the colour of its letters.
        let is_clear = |(_, bg, modifier): Look| bg == Color::Reset && !modifier.intersects(SEEN_ON_BLANKS);
        let is_alike = |cell: &Cell| {
            let look = (cell.fg, cell.bg, cell.modifier);
            self.look == Some(look) && cell.symbol().is_ascii()
                || cell.symbol() == " " && is_clear(look) && self.look.is_some_and(is_clear)
        };
        if !between.is_empty() && between.iter().all(is_alike) {
            self.frame.extend(between.iter().flat_map(|cell| cell.symbol().bytes()));
            (from..x).for_each(|x| self.links.written(x, y));
            self.cursor = Some((x, y));
        }
    }

    fn put(&mut self, x: u16, y: u16, cell: &Cell, columns: u16) {
        self.bridge(x, y);
        self.go(x, y);
        self.links.written(x, y);
        self.wear((cell.fg, cell.bg, cell.modifier));
        let width = cell.cell_width().max(1);
        let next = x.saturating_add(width);
        if self.is_ascii {
            self.push(&format!("{:1$}", plain(cell.symbol()), usize::from(width)));
            self.cursor = (next < columns).then_some((next, y));
            return;
        }
        self.push(cell.symbol());
        // Behind the last column a terminal may wait on it, or be in the next row.
        self.cursor = (next < columns && width::is_certain(cell.symbol())).then_some((next, y));
    }

    fn wear(&mut self, look: Look) {
        let (fg, bg, modifier) = look;
        let (was_fg, was_bg, was) = match self.look {
            Some(worn) if worn == look => return,
            // What is taken off is taken off with everything else.
            Some(worn) if modifier.contains(worn.2) => worn,
            _ => {
                self.push("\x1b[0m");
                (Color::Reset, Color::Reset, Modifier::empty())
            }
        };
        let mut codes = Vec::new();
        for (attribute, code) in ATTRIBUTES {
            if modifier.contains(attribute) && !was.contains(attribute) {
                codes.push(code.to_owned());
            }
        }
        codes.extend((fg != was_fg).then(|| color(fg, 30)));
        codes.extend((bg != was_bg).then(|| color(bg, 40)));
        if !codes.is_empty() {
            self.push(&format!("\x1b[{}m", codes.join(";")));
        }
        self.look = Some(look);
    }

    /// Has the terminal move a part of the screen up, and with it what is known of it.
    fn scroll(&mut self, Scroll { top, bottom, by }: Scroll, wanted: &mut BTreeMap<usize, Row>) {
        // What is to stand in rows that change only by this is written where it differs.
        for y in top..=bottom {
            let Some(row) = self.rows.get(y) else { return };
            wanted.entry(y).or_insert_with(|| row.clone());
        }
        self.wear((Color::Reset, Color::Reset, Modifier::empty()));
        self.push(&format!("\x1b[{};{}r\x1b[{};1H", top + 1, bottom + 1, bottom + 1));
        self.push(&"\n".repeat(by));
        self.push("\x1b[r");
        self.cursor = Some((0, 0));
        self.is_scrolled = true;
        if let Some(rows) = self.rows.get_mut(top..=bottom) {
            rows.rotate_left(by);
            rows.iter_mut().rev().take(by).for_each(|row| *row = Row::default());
        }
        self.links.scrolled(top, bottom, by);
    }

    /// Writes what differs in a row from what stood there.
    fn row(&mut self, before: &Row, y: u16, columns: u16) {
        let Some(row) = self.rows.get(usize::from(y)) else { return };
        let is_whole = row.is_disputed || before.is_disputed;
        let changed: Vec<(u16, Cell)> =
            row.changed(before).filter(|(x, _)| *x < columns).map(|(x, cell)| (x, cell.clone())).collect();
        if is_whole && !changed.is_empty() {
            return self.write(y, columns);
        }
        for (x, cell) in changed {
            self.put(x, y, &cell, columns);
        }
    }

    /// Writes a row as a whole.
    fn write(&mut self, y: u16, columns: u16) {
        let Some(row) = self.rows.get_mut(usize::from(y)).map(std::mem::take) else { return };
        self.go(0, y);
        self.wear((Color::Reset, Color::Reset, Modifier::empty()));
        self.push("\x1b[2K");
        for (x, cell) in row.shown().take_while(|(x, _)| *x < columns) {
            self.put(x, y, cell, columns);
        }
        // What was drawn too far behind the last of them.
        if row.cells.len() < usize::from(columns) {
            self.go(u16::try_from(row.cells.len()).unwrap_or(u16::MAX), y);
            self.wear((Color::Reset, Color::Reset, Modifier::empty()));
            self.push("\x1b[K");
        }
        if let Some(place) = self.rows.get_mut(usize::from(y)) {
            *place = row;
        }
    }
}

/// What comes nearest to a cluster in ASCII.
fn plain(cluster: &str) -> char {
    let Some(first) = cluster.nfd().next() else { return ' ' };
    match first {
        ' '..='~' => first,
        '─' => '-',
        '│' => '|',
        '╭' | '╮' | '╰' | '╯' | '┴' | '┬' | '✓' => '+',
        '●' | '•' => '*',
        '○' => 'o',
        '◌' | '◐' | '±' | '…' => '~',
        '✗' => 'x',
        '┃' => '!',
        '·' => '.',
        '›' | '→' | '⇢' | '▌' => '>',
        '↑' | '⌂' => '^',
        '↓' => 'v',
        'µ' => 'u',
        '▁' | '▂' | '▃' => '_',
        '▄' | '▅' => '=',
        '▆' | '▇' | '█' => '#',
        _ => '?',
    }
}

const ATTRIBUTES: [(Modifier, &str); 7] = [
    (Modifier::BOLD, "1"),
    (Modifier::DIM, "2"),
    (Modifier::ITALIC, "3"),
    (Modifier::UNDERLINED, "4"),
    (Modifier::SLOW_BLINK, "5"),
    (Modifier::REVERSED, "7"),
    (Modifier::CROSSED_OUT, "9"),
];

/// A color for letters (`base` 30) or behind them (40), as ECMA-48 has it.
fn color(color: Color, base: u8) -> String {
    let of = |number: u8| (base + number).to_string();
    match color {
        Color::Reset => of(9),
        Color::Black => of(0),
        Color::Red => of(1),
        Color::Green => of(2),
        Color::Yellow => of(3),
        Color::Blue => of(4),
        Color::Magenta => of(5),
        Color::Cyan => of(6),
        Color::Gray => of(7),
        Color::DarkGray => of(60),
        Color::LightRed => of(61),
        Color::LightGreen => of(62),
        Color::LightYellow => of(63),
        Color::LightBlue => of(64),
        Color::LightMagenta => of(65),
        Color::LightCyan => of(66),
        Color::White => of(67),
        Color::Indexed(index) => format!("{};5;{index}", base + 8),
        Color::Rgb(r, g, b) => format!("{};2;{r};{g};{b}", base + 8),
    }
}

impl<W: Write> Backend for Writer<W> {
    type Error = io::Error;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> io::Result<()> {
        let size = self.size()?;
        self.rows.resize_with(self.rows.len().max(size.height.into()), Row::default);
        let mut wanted: BTreeMap<usize, Row> = BTreeMap::new();
        for (x, y, cell) in content {
            let Some(row) = self.rows.get(usize::from(y)) else { continue };
            wanted.entry(y.into()).or_insert_with(|| row.clone()).put(x.into(), cell);
        }
        if let Some(scroll) = scroll::find(&self.rows, &wanted) {
            self.scroll(scroll, &mut wanted);
        }
        for (y, mut row) in wanted {
            row.is_disputed = row.cells.iter().any(|cell| width::is_disputed(cell.symbol()));
            let Some(shown) = self.rows.get_mut(y) else { continue };
            let before = std::mem::replace(shown, row);
            let y = u16::try_from(y).unwrap_or(u16::MAX);
            self.row(&before, y, size.width);
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        if self.is_cursor_shown.replace(false) != Some(false) {
            self.push("\x1b[?25l");
        }
        Ok(())
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        if self.is_cursor_shown.replace(true) != Some(true) {
            self.push("\x1b[?25h");
        }
        Ok(())
    }

    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor.unwrap_or_default().into())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        self.go(x, y);
        Ok(())
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    /// The screen is one's own, and is only ever cleared as a whole.
    fn clear_region(&mut self, _: ClearType) -> io::Result<()> {
        self.wear((Color::Reset, Color::Reset, Modifier::empty()));
        self.push("\x1b[2J");
        self.rows.clear();
        self.links.clear();
        self.cursor = None;
        Ok(())
    }

    fn size(&self) -> io::Result<Size> {
        (self.size)().map(Size::from)
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::default() })
    }

    fn flush(&mut self) -> io::Result<()> {
        // Between a part that has gone up and what is put right in it nothing is to be seen.
        let is_scrolled = std::mem::take(&mut self.is_scrolled);
        if self.frame.len() > SYNCHRONIZED_FROM || is_scrolled {
            self.frame.splice(0..0, *b"\x1b[?2026h");
            self.push("\x1b[?2026l");
        }
        let frame = std::mem::take(&mut self.frame);
        self.to.write_all(&frame)?;
        self.to.flush()
    }
}

#[cfg(test)]
mod tests;
