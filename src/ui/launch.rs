//! The launch screen and its forms.

use ratatui::{
    buffer::Buffer,
    layout::{Position, Rect},
    style::Style,
};

use super::{Theme, frame, paint};
use crate::{
    api::{Finding, Verdict},
    app::{
        State,
        launch::{
            Choice, Launch,
            form::{Field, FieldName, Form, FormKind, Progress},
        },
        nearby::{Acquaintance, acquaintance, distance},
        strength::Strength,
        wrap,
    },
    model::{Answer, KnownHost, Timestamp, Wire},
};

const WIDTH: u16 = 76;
/// Cells of an input beside which its help stands.
const INPUT: u16 = 28;
/// Where a finding's text begins: after its sign and its name.
const FINDING_INDENT: usize = 13;

pub(super) fn draw(
    state: &State,
    launch: &Launch,
    theme: Theme,
    area: Rect,
    buffer: &mut Buffer,
) -> Option<Position> {
    let hint = Rect { y: area.bottom() - 1, height: 1, ..area };
    let body = Rect { height: area.height - 1, ..area };
    frame::hint(state, theme, hint, buffer);
    match &launch.form {
        Some(form) => draw_form(form, theme, body, buffer),
        None => {
            draw_menu(state, launch, theme, body, buffer);
            None
        }
    }
}

fn draw_menu(state: &State, launch: &Launch, theme: Theme, area: Rect, buffer: &mut Buffer) {
    let listed = launch.recents.len() + launch.strangers().count();
    let recents = u16::try_from(listed).unwrap_or(u16::MAX).min(8);
    let roomy = area.height >= 16;
    let message = launch
        .message
        .as_deref()
        .map(|message| wrapped(message, usize::from(WIDTH.min(area.width)).saturating_sub(2)));
    let message_rows = message.as_ref().map_or(0, |rows| u16::try_from(rows.len()).unwrap_or(3) + 1);
    let height = if roomy { 9 + message_rows + recents + u16::from(recents > 0) } else { area.height };
    let column = paint::centered(area, WIDTH, height);
    let mut y = column.y;
    let x = column.x + 1;
    let version = format!("pyile {}", env!("CARGO_PKG_VERSION"));
    paint::put(buffer, column, x, y, &version, theme.accent());
    if roomy {
        y += 1;
        let line = "a messenger for a group that trusts one of its own to hold the door";
        paint::put(
            buffer,
            column,
            x,
            y,
            &wrap::fit(line, usize::from(column.width).saturating_sub(1)),
            theme.dim(),
        );
        y += 1;
    }
    if let Some(rows) = message {
        y += u16::from(roomy);
        for row in rows {
            paint::put(buffer, column, x, y, &row, theme.warning());
            y += 1;
        }
    }
    y += 1 + u16::from(roomy);
    let choices = launch.choices();
    let known = listed;
    let fixed = choices.len() - known;
    // Of many known networks those around the selected one.
    let gap = usize::from(roomy && known > 0);
    let shown = usize::from(column.bottom().saturating_sub(y)).saturating_sub(fixed + gap).max(1);
    let first = (launch.at.min(known.saturating_sub(1)) + 1).saturating_sub(shown);
    for (at, choice) in choices.iter().enumerate() {
        if at < known && !(first..first + shown).contains(&at) {
            continue;
        }
        if at == known && gap > 0 {
            y += 1;
        }
        if y >= column.bottom() {
            break;
        }
        let row = Rect { y, height: 1, ..column };
        let help_at = if known > 0 { 19 } else { 6 };
        draw_choice(&words(state, launch, choice), at == launch.at, help_at, (theme, row), buffer);
        y += 1;
    }
}

/// Draws a line of the menu; what it does begins at `help_at`, or behind a longer name.
fn draw_choice(
    (name, help, note): &(String, String, String),
    is_chosen: bool,
    help_at: u16,
    (theme, row): (Theme, Rect),
    buffer: &mut Buffer,
) {
    let (x, y) = (row.x + 1, row.y);
    let strong = if is_chosen { theme.accent() } else { Theme::strong() };
    let quiet = if is_chosen { Theme::plain() } else { theme.dim() };
    let end = paint::put(buffer, row, x + 1, y, &wrap::fit(name, 18), strong);
    let help_x = end.max(x + help_at) + 1;
    let note_width = u16::try_from(wrap::width(note) + 2).unwrap_or(0);
    let until = row.right().saturating_sub(1);
    let right = if until.saturating_sub(help_x) > 24 + note_width { until - note_width } else { until };
    let room = usize::from(right.saturating_sub(help_x));
    paint::put(buffer, row, help_x, y, &wrap::fit(help, room), quiet);
    if right < until {
        paint::put_right(buffer, Rect { width: row.width - 1, ..row }, right, y, note, quiet);
    }
    if is_chosen {
        let selected = Rect { x: row.x + 1, width: row.width - 1, ..row };
        paint::fill(buffer, selected, y, Theme::selected());
        paint::put(buffer, row, row.x, y, "▌", theme.accent());
    }
}

/// A line of the menu: its name, what it does, and what more there is to know.
fn words(state: &State, launch: &Launch, choice: &Choice) -> (String, String, String) {
    let (name, help) = match choice {
        Choice::Host if state.defaults.has_kept_password && !state.defaults.network.is_empty() => {
            ("Host", format!("open {} again", crate::model::SafeText::line(&state.defaults.network)))
        }
        Choice::Host => ("Host", "open a network and let others in by password".to_owned()),
        Choice::Join => ("Join", "somebody else's network; or paste an invite here".to_owned()),
        Choice::Demo if launch.opening => ("Demo", "the bots are on their way …".to_owned()),
        Choice::Demo if launch.recents.is_empty() && !state.defaults.has_kept_password => {
            ("Demo", "new here? see it alive: three bots on this machine".to_owned())
        }
        Choice::Demo => ("Demo", "see it alive: three bots on this machine".to_owned()),
        Choice::Recent(known) => {
            let (name, help, ago) = recent(known, state.now);
            let note = launch.around(&known.peer_id).map_or(ago, |network| match network.answer {
                Answer::After(_) => format!("around, {}", distance(network.answer)),
                Answer::Awaited | Answer::Nothing => "around".to_owned(),
            });
            return (name, help, note);
        }
        Choice::Nearby(key) => {
            let Some(network) = launch.around(key) else {
                return (String::new(), String::new(), String::new());
            };
            let help = match acquaintance(network, &launch.recents) {
                Acquaintance::OtherKey => format!("{}, NOT the {} that you know", key.short(), network.name),
                _ => format!("{}, around", key.short()),
            };
            return (network.name.to_string(), help, distance(network.answer));
        }
    };
    (name.to_owned(), help, String::new())
}

fn recent(known: &KnownHost, now: Timestamp) -> (String, String, String) {
    let ago = now.since(known.joined).as_secs();
    let ago = match ago {
        0..=119 => "just now".to_owned(),
        120..=7199 => format!("{} minutes ago", ago / 60),
        7200..=172_799 => format!("{} hours ago", ago / 3600),
        _ => format!("{} days ago", ago / 86_400),
    };
    let network = crate::model::SafeText::line(&known.network).to_string();
    let target = crate::model::SafeText::line(&known.target);
    let wire = if known.peer_id.wire() == Wire::Classic { ", in clear" } else { "" };
    (network, format!("as {}, {target}{wire}", known.alias), ago)
}

fn draw_form(form: &Form, theme: Theme, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    let title = match form.kind {
        FormKind::Host => "Host a network",
        FormKind::Join => "Join a network",
    };
    let narrow = area.width < 50;
    let label_width = if narrow { 0 } else { 11 };
    let text_width = usize::from(WIDTH.min(area.width).saturating_sub(label_width + 4)).max(4);
    let rows_of = |field: &Field| {
        let errors = field.error.as_deref().map_or(0, |error| wrapped(error, text_width).len());
        2 + errors
    };
    let roomy = area.height >= 14;
    let error_rows = form.error.as_deref().map(|error| wrapped(error, text_width)).unwrap_or_default();
    let fields: usize = form.fields.iter().map(rows_of).sum();
    let findings = finding_rows(&form.findings, usize::from(WIDTH.min(area.width)).saturating_sub(2), theme);
    let height = u16::try_from(fields + error_rows.len() + findings.len() + 4).unwrap_or(area.height);
    let height = height.min(area.height);
    let column =
        if roomy { paint::centered(area, WIDTH, height) } else { paint::centered(area, WIDTH, area.height) };
    let x = column.x + 1;
    let mut y = column.y;
    paint::put(buffer, column, x, y, title, theme.accent());
    y += if roomy { 2 } else { 1 };
    let mut cursor = None;
    for (at, field) in form.fields.iter().enumerate() {
        let active = at == form.at && form.progress == Progress::Editing;
        let label_style = if active { Theme::strong() } else { theme.dim() };
        let value_x = if narrow {
            paint::put(buffer, column, x, y, field.name.label(), label_style) + 1
        } else {
            paint::put(buffer, column, x, y, field.name.label(), label_style);
            x + label_width
        };
        let width = usize::from(column.right().saturating_sub(value_x + 1)).max(1);
        let at_column = draw_value(
            form,
            field,
            Rect { x: value_x, y, width: u16::try_from(width).unwrap_or(1), height: 1 },
            (theme, active),
            buffer,
        );
        if active {
            cursor = Some(Position { x: value_x + at_column, y });
        }
        y += 1;
        for row in field.error.as_deref().map(|error| wrapped(error, text_width)).unwrap_or_default() {
            paint::put(buffer, column, if narrow { x } else { value_x }, y, &row, theme.bad());
            y += 1;
        }
        y += u16::from(roomy);
    }
    for row in error_rows {
        paint::put(buffer, column, x, y, &row, theme.bad());
        y += 1;
    }
    for (row, style) in findings {
        paint::put(buffer, column, x, y, &row, style);
        y += 1;
    }
    if let Progress::Opening(doing) = &form.progress {
        let text = format!("… {doing} (Esc gives up)");
        paint::put(
            buffer,
            column,
            x,
            y,
            &wrap::fit(&text, usize::from(column.width).saturating_sub(1)),
            theme.warning(),
        );
    }
    cursor
}

/// Draws a field's value, scrolled so that the cursor is visible. Gives the cursor's column.
fn draw_value(
    form: &Form,
    field: &Field,
    area: Rect,
    (theme, active): (Theme, bool),
    buffer: &mut Buffer,
) -> u16 {
    if let Some(is_on) = field.is_on {
        let key = if active { " (Space)" } else { "" };
        let words = format!("[{}] {}{key}", if is_on { "x" } else { " " }, field.placeholder);
        let style = if is_on { Theme::plain() } else { theme.dim() };
        paint::put(buffer, area, area.x, area.y, &wrap::fit(&words, usize::from(area.width)), style);
        return 1;
    }
    let text = field.value.text();
    let hidden = field.name == FieldName::Password && !form.revealed;
    // Where nobody writes, it is seen from its beginning.
    let cursor = if active { field.value.cursor() } else { 0 };
    let (shown, before) = if hidden {
        let count = |text: &str| text.chars().count();
        ("•".repeat(count(text)), count(text.get(..cursor).unwrap_or_default()))
    } else {
        (text.to_owned(), wrap::width(text.get(..cursor).unwrap_or_default()))
    };
    let is_said = field.name == FieldName::Password && form.kind == FormKind::Join && form.is_classic();
    let strength = form.strength.filter(|_| field.name == FieldName::Password);
    let placeholder = match strength {
        _ if is_said => "the network's, which goes in clear",
        Some(Strength::Strong) if form.is_offered => "tell these, or type your own",
        Some(strength) => strength.words(),
        None if field.name == FieldName::Password && form.has_pass() => "not needed by an invite",
        None => field.placeholder,
    };
    let note_style = if strength == Some(Strength::Weak) { theme.warning() } else { theme.dim() };
    // An input looks like one; what an empty one means stands beside it where there is room.
    let beside = area.width >= INPUT + 2 + u16::try_from(wrap::width(placeholder)).unwrap_or(u16::MAX);
    let input = Rect { width: if beside { INPUT } else { area.width }, ..area };
    let line_style = if active { theme.accent() } else { theme.dim() };
    let mut hinted = area.x;
    if beside {
        paint::put(buffer, area, input.right() + 2, area.y, placeholder, note_style);
    } else if shown.is_empty() && !active {
        let words = wrap::fit(placeholder, usize::from(area.width));
        hinted = paint::put(buffer, area, area.x, area.y, &words, theme.dim());
    }
    let area = input;
    // One cell stays free for the cursor.
    let room = usize::from(area.width.saturating_sub(1)).max(1);
    let skip = before.saturating_sub(room);
    let mut used = 0;
    let visible: String = unicode_segmentation::UnicodeSegmentation::graphemes(shown.as_str(), true)
        .filter(|cluster| {
            let at = used;
            used += wrap::cells(cluster);
            at >= skip
        })
        .collect();
    let end = paint::put(buffer, area, area.x, area.y, &visible, Theme::plain());
    for x in end.max(hinted)..area.right() {
        paint::put(buffer, area, x, area.y, "_", line_style);
    }
    u16::try_from(before - skip).unwrap_or(0)
}

/// What was found at the host: what is well in a line, what is not with what to do about it.
fn finding_rows(findings: &[Finding], width: usize, theme: Theme) -> Vec<(String, Style)> {
    let mut rows = Vec::new();
    for Finding { check, verdict, message, next } in findings {
        let style = match verdict {
            Verdict::Good | Verdict::Skipped => theme.dim(),
            Verdict::Poor => theme.warning(),
            Verdict::Bad => theme.bad(),
        };
        let text_width = width.saturating_sub(FINDING_INDENT);
        let lead = format!("{} {:<10}", verdict.sign(), check.label());
        for (at, row) in wrapped(message.as_str(), text_width).into_iter().enumerate() {
            let lead = if at == 0 { lead.as_str() } else { "" };
            rows.push((format!("{lead:<FINDING_INDENT$}{row}"), style));
        }
        for line in next.as_str().lines() {
            for (at, row) in wrapped(line, text_width.saturating_sub(2)).into_iter().enumerate() {
                let arrow = if at == 0 { "→ " } else { "  " };
                rows.push((format!("{:FINDING_INDENT$}{arrow}{row}", ""), Theme::plain()));
            }
        }
    }
    rows
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let rows = wrap::rows(text, width.max(8));
    rows.into_iter().filter_map(|range| text.get(range)).map(|row| row.trim_end().to_owned()).collect()
}
