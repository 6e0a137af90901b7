use ratatui::{Terminal, buffer::Buffer, layout::Rect, style::Style};
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::*;
use crate::ui::paint;

const COLUMNS: u16 = 40;
const ROWS: u16 = 12;

/// Scripts with their conjuncts, and emoji of every kind.
const CORPUS: &[&str] = &[
    "plain text",
    "naïve e\u{301}",
    "Привет, мир",
    "Γειά σου",
    "Բարեւ",
    "გამარჯობა",
    "שָׁלוֹם עוֹלָם",
    "السَّلَامُ عَلَيْكُمْ",
    "ܫܠܡܐ",
    "स्वागत राष्ट्र स्त्री. क्\u{200D}ष",
    "ক্ষুদ্র স্বাগতম",
    "ਸਤਿ ਸ੍ਰੀ",
    "ગુજરાતી સ્ત્રી",
    "ଓଡ଼ିଆ ସ୍ୱାଗତ",
    "நிறுவனம் ஸ்ரீ",
    "తెలుగు స్క్రిప్టు",
    "ಕನ್ನಡ ಸ್ತ್ರೀ",
    "ശ്രീ സ്വാഗതം",
    "ශ්\u{200D}රී ලංකා",
    "ประเทศไทย ก้ำ",
    "ສະບາຍດີ ນ້ຳ",
    "བོད་སྐད་བརྒྱད",
    "မြန်မာ ခြင်္သေ့",
    "សូមស្វាគមន៍ ខ្ញុំ",
    "ᠮᠣᠩᠭᠣᠯ\u{180B}",
    "한국어 각",
    "日本語、中文。",
    "አማርኛ",
    "ᏣᎳᎩ",
    "ᬩᬮᬶ ᬓ᭄ᬱ",
    "ꦗꦮ ꦏ꧀ꦱ",
    "𑀓𑁆𑀱 𑀩𑁆𑀭",
    "ﷺ",
    "❤\u{FE0F} ☺\u{FE0E} ☎",
    "👍 👍🏽 👋🏿",
    "👨\u{200D}👩\u{200D}👧 🧑🏽\u{200D}🚀",
    "1\u{FE0F}\u{20E3} #\u{FE0F}\u{20E3}",
    "🇩🇪 🇺🇳",
    "🏴\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}",
    "👁\u{FE0F}\u{200D}🗨\u{FE0F}",
    "🫨 🪿",
];

/// A terminal, as far as the writer needs one, that counts cells in its own way.
struct Emulator {
    counts: Counts,
    grid: Vec<Vec<String>>,
    at: (usize, usize),
    /// Where the link leads that is written now, and those of the cells.
    link: String,
    links: Vec<Vec<String>>,
    /// The rows that scroll.
    region: (usize, usize),
}

#[derive(Clone, Copy, Debug)]
enum Counts {
    /// Each character for itself, as most do.
    Characters,
    /// The same, and marks beside a letter take no cell.
    NarrowMarks,
    /// A cluster takes what its first character takes.
    Clusters,
    /// A cluster takes what the standard's tables say.
    Tables,
    /// Old tables: no emoji is wide.
    OldTables,
}

const BLANK: &str = " ";

impl Emulator {
    fn new(counts: Counts) -> Self {
        let grid = vec![vec![BLANK.to_owned(); COLUMNS.into()]; ROWS.into()];
        let links = vec![vec![String::new(); COLUMNS.into()]; ROWS.into()];
        Self { counts, grid, at: (0, 0), link: String::new(), links, region: (0, usize::from(ROWS) - 1) }
    }

    fn read(&mut self, bytes: &[u8]) {
        let mut rest = std::str::from_utf8(bytes).unwrap();
        while !rest.is_empty() {
            if let Some(sequence) = rest.strip_prefix("\x1b[") {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic()).unwrap();
                let (parameters, command) = (&sequence[..end], &sequence[end..=end]);
                self.command(parameters, command);
                rest = &sequence[end + 1..];
            } else if let Some(sequence) = rest.strip_prefix("\x1b]8;") {
                let (link, after) = sequence.split_once("\x1b\\").unwrap();
                link.split_once(';').unwrap().1.clone_into(&mut self.link);
                rest = after;
            } else if let Some(after) = rest.strip_prefix('\r') {
                self.at.0 = 0;
                rest = after;
            } else if let Some(after) = rest.strip_prefix('\n') {
                assert_eq!(self.at.1, self.region.1, "at the lower edge of what scrolls");
                self.grid.remove(self.region.0);
                self.grid.insert(self.region.1, vec![BLANK.to_owned(); COLUMNS.into()]);
                self.links.remove(self.region.0);
                self.links.insert(self.region.1, vec![String::new(); COLUMNS.into()]);
                rest = after;
            } else {
                let end = rest.find(['\x1b', '\r', '\n']).unwrap_or(rest.len());
                let (run, after) = rest.split_at(end);
                self.print(run);
                rest = after;
            }
        }
    }

    fn command(&mut self, parameters: &str, command: &str) {
        let number = |at: usize| {
            parameters.split(';').nth(at).and_then(|number| number.parse::<usize>().ok()).unwrap_or(1) - 1
        };
        match command {
            "H" => self.at = (number(1), number(0)),
            "G" => self.at.0 = number(0),
            "r" => {
                self.region =
                    if parameters.is_empty() { (0, usize::from(ROWS) - 1) } else { (number(0), number(1)) };
                self.at = (0, 0);
            }
            "J" => self.grid.iter_mut().flatten().for_each(|cell| BLANK.clone_into(cell)),
            "K" => {
                let from = if parameters == "2" { 0 } else { self.at.0 };
                self.grid[self.at.1][from..].iter_mut().for_each(|cell| BLANK.clone_into(cell));
            }
            "m" | "h" | "l" => {}
            other => panic!("{parameters}{other}"),
        }
    }

    fn print(&mut self, run: &str) {
        let is_mark = |c: char| {
            c.width() == Some(1) && c.to_string().graphemes(true).count() == 1 && {
                format!("\u{915}{c}").graphemes(true).count() == 1
            }
        };
        match self.counts {
            Counts::Characters => run.chars().for_each(|c| self.one(&c.to_string(), c.width().unwrap_or(0))),
            Counts::NarrowMarks => run.chars().for_each(|c| {
                self.one(&c.to_string(), if is_mark(c) { 0 } else { c.width().unwrap_or(0) });
            }),
            Counts::OldTables => run.chars().for_each(|c| {
                let width = if c >= '\u{1F000}' { 1 } else { c.width().unwrap_or(0) };
                self.one(&c.to_string(), width);
            }),
            Counts::Clusters => run.graphemes(true).for_each(|cluster| {
                self.one(cluster, cluster.chars().next().and_then(char::width).unwrap_or(0));
            }),
            Counts::Tables => run.graphemes(true).for_each(|cluster| self.one(cluster, cluster.width())),
        }
    }

    fn one(&mut self, shown: &str, width: usize) {
        let row = &mut self.grid[self.at.1];
        if width == 0 {
            if let Some(cell) = self.at.0.checked_sub(1).and_then(|x| row.get_mut(x)) {
                cell.push_str(shown);
            }
            return;
        }
        let x = self.at.0.min(row.len() - 1);
        // Half of a wide one that is written over is blank.
        if row[x].is_empty() {
            let start = row[..x].iter().rposition(|cell| !cell.is_empty()).unwrap();
            row[start..x].iter_mut().for_each(|cell| BLANK.clone_into(cell));
        }
        let end = (x + width).min(row.len());
        self.links[self.at.1][x..end].iter_mut().for_each(|link| self.link.clone_into(link));
        row[x..end].iter_mut().for_each(String::clear);
        shown.clone_into(&mut row[x]);
        for cell in row[end..].iter_mut().take_while(|cell| cell.is_empty()) {
            BLANK.clone_into(cell);
        }
        self.at.0 = end;
    }
}

fn draw(terminal: &mut Terminal<Writer<Vec<u8>>>, lines: &[String]) -> Buffer {
    let frame = terminal.draw(|frame| {
        let area = frame.area();
        for (y, line) in (0..).zip(lines) {
            let end = paint::put(frame.buffer_mut(), area, 1, y, line, Style::new());
            paint::put(frame.buffer_mut(), area, end, y, "|end", Style::new());
        }
    });
    frame.unwrap().buffer.clone()
}

/// Where the terminal shows something else than it should: outside of what it counts in its own way.
fn differences(emulator: &Emulator, buffer: &Buffer) -> Vec<String> {
    let mut found = Vec::new();
    for y in 0..ROWS {
        let mut next = 0;
        for x in 0..COLUMNS {
            let cell = &buffer[(x, y)];
            if x < next {
                continue;
            }
            next = x + cell.cell_width().max(1);
            let shown = &emulator.grid[usize::from(y)][usize::from(x)];
            if !width::is_disputed(cell.symbol()) && shown != cell.symbol() {
                found.push(format!("{:?}: at {x},{y} {shown:?} for {:?}", emulator.counts, cell.symbol()));
            }
        }
    }
    found
}

#[test]
fn however_a_terminal_counts_text_of_the_whole_world_stands_where_it_should_and_leaves_no_ghosts() {
    for counts in
        [Counts::Characters, Counts::NarrowMarks, Counts::Clusters, Counts::Tables, Counts::OldTables]
    {
        let mut emulator = Emulator::new(counts);
        let mut terminal = Terminal::new(Writer::new(Vec::new(), || Ok((COLUMNS, ROWS)))).unwrap();
        let mut show = |terminal: &mut Terminal<Writer<Vec<u8>>>, lines: &[String]| {
            let buffer = draw(terminal, lines);
            emulator.read(&std::mem::take(&mut terminal.backend_mut().to));
            let found = differences(&emulator, &buffer);
            assert!(found.is_empty(), "{lines:?}: {found:#?}");
        };
        let mut before = "other text in the same place".to_owned();
        for text in CORPUS {
            // It comes, moves down a row beside another, changes places with it, and is gone.
            show(&mut terminal, &[before.clone(), (*text).to_owned()]);
            show(&mut terminal, &[String::new(), before.clone(), (*text).to_owned()]);
            show(&mut terminal, &[(*text).to_owned(), before.clone()]);
            show(&mut terminal, &["it is gone".to_owned()]);
            show(&mut terminal, &[]);
            before = (*text).to_owned();
        }
    }
}

#[test]
fn where_nothing_but_ascii_is_shown_everything_stands_in_its_place_in_ascii() {
    let writer = Writer::new(Vec::new(), || Ok((COLUMNS, ROWS))).ascii(true);
    let mut terminal = Terminal::new(writer).unwrap();
    let lines = ["╭─ é ─╮ ● 日本 👩\u{200D}👧 12 µs ✓", "│ स्त्री │ … ✗"].map(str::to_owned);
    draw(&mut terminal, &lines);
    let bytes = std::mem::take(&mut terminal.backend_mut().to);
    assert!(bytes.is_ascii(), "{}", String::from_utf8_lossy(&bytes));
    let mut emulator = Emulator::new(Counts::Characters);
    emulator.read(&bytes);
    assert_eq!(emulator.grid[0].concat().trim_end(), " +- e -+ * ? ?  ?  12 us +|end");
    assert_eq!(emulator.grid[1].concat().trim_end(), " | ?    | ~ x|end");
}

#[test]
fn every_letter_of_every_script_is_drawn() {
    for text in CORPUS {
        let area = Rect::new(0, 0, COLUMNS, 1);
        let mut buffer = Buffer::empty(area);
        paint::put(&mut buffer, area, 0, 0, text, Style::new());
        let mut row = Row::default();
        for (x, _, cell) in Buffer::empty(area).diff(&buffer) {
            row.put(x.into(), cell);
        }
        let drawn: String = row.shown().map(|(_, cell)| cell.symbol()).collect();
        assert_eq!(drawn, *text);
    }
}

#[test]
fn a_link_is_where_it_is_drawn_and_nowhere_else() {
    let mut emulator = Emulator::new(Counts::Characters);
    let mut terminal = Terminal::new(Writer::new(Vec::new(), || Ok((COLUMNS, ROWS)))).unwrap();
    let link = |x, y, width, url: &str| Link { x, y, width, url: url.to_owned() };
    // Lines, their look, and the links over them.
    let plain = Style::new();
    let bold = Style::new().bold();
    let (one, other) = (link(5, 0, 6, "https://a"), link(5, 1, 6, "https://b"));
    for (lines, style, links) in [
        (["see a link here", ""], plain, vec![one.clone()]),
        // Written again with another look, in the same place.
        (["see a link here", ""], bold, vec![one.clone()]),
        (["see a link here", ""], bold, vec![link(5, 0, 6, "https://c")]),
        (["", "see a link here"], plain, vec![other.clone()]),
        (["see a link here", "see a link here"], plain, vec![one.clone(), other]),
        // The text stays, and is no link any more.
        (["see a link here", ""], plain, vec![]),
        (["日本語 a link", ""], plain, vec![link(1, 0, 4, "https://d")]),
        (["see a link here", ""], plain, vec![one]),
    ] {
        terminal
            .draw(|frame| {
                for (y, line) in (0..).zip(lines) {
                    paint::put(frame.buffer_mut(), Rect::new(0, 0, COLUMNS, ROWS), 1, y, line, style);
                }
            })
            .unwrap();
        terminal.backend_mut().link(links.clone()).unwrap();
        emulator.read(&std::mem::take(&mut terminal.backend_mut().to));
        for y in 0..ROWS {
            for x in 0..COLUMNS {
                let expected = links.iter().find(|link| link.covers(x, y)).map_or("", |link| &link.url);
                assert_eq!(
                    emulator.links[usize::from(y)][usize::from(x)],
                    expected,
                    "at {x},{y} in {lines:?}"
                );
            }
        }
        terminal.backend_mut().link(links).unwrap();
        assert!(terminal.backend_mut().to.is_empty(), "nothing is written where nothing changed");
    }
}

#[test]
fn rows_that_move_up_are_moved_by_the_terminal_and_everything_stands_where_it_should() {
    for counts in
        [Counts::Characters, Counts::NarrowMarks, Counts::Clusters, Counts::Tables, Counts::OldTables]
    {
        let mut emulator = Emulator::new(counts);
        let mut terminal = Terminal::new(Writer::new(Vec::new(), || Ok((COLUMNS, ROWS)))).unwrap();
        let (mut scrolled, mut lines) = (0, Vec::<String>::new());
        for (number, text) in CORPUS.iter().cycle().take(3 * CORPUS.len()).enumerate() {
            // Of a log that is full the first goes and another comes; what stands above and below it stays.
            lines.push(format!("link {number} {text} and more"));
            let first = lines.len().saturating_sub(usize::from(ROWS) - 2);
            let shown: Vec<String> = [format!("title {}", number / 9)]
                .into_iter()
                .chain(lines[first..].iter().cloned())
                .chain([String::from("what is written")])
                .collect();
            let is_link = number % 3 == 0;
            let link = Link { x: 1, y: 3, width: 4, url: format!("https://a/{number}") };
            let links = if is_link { vec![link] } else { Vec::new() };
            let buffer = draw(&mut terminal, &shown);
            let y = u16::try_from(shown.len() - 2).unwrap();
            let links: Vec<Link> = links.into_iter().map(|link| Link { y, ..link }).collect();
            terminal.backend_mut().link(links.clone()).unwrap();
            let bytes = std::mem::take(&mut terminal.backend_mut().to);
            scrolled += usize::from(bytes.windows(3).any(|part| part == b"\x1b[r"));
            emulator.read(&bytes);
            let found = differences(&emulator, &buffer);
            assert!(found.is_empty(), "{shown:?}: {found:#?}");
            for y in 0..ROWS {
                for x in 0..COLUMNS {
                    let expected = links.iter().find(|link| link.covers(x, y)).map_or("", |link| &link.url);
                    let there = &emulator.links[usize::from(y)][usize::from(x)];
                    assert_eq!(there, expected, "{counts:?} at {x},{y}");
                }
            }
        }
        assert!(scrolled > CORPUS.len(), "{counts:?}: {scrolled} times");
    }
}
