//! Links that a terminal opens when one clicks on them (OSC 8). They lie over what is drawn: ratatui knows no links, and writes
//! a cell again without one.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Write},
};

use ratatui::backend::Backend as _;

use super::Writer;

/// A link over some cells of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its first column.
    pub x: u16,
    /// Its row.
    pub y: u16,
    /// Its columns.
    pub width: u16,
    /// Where it leads: visible ASCII only.
    pub url: String,
}

impl Link {
    pub(super) fn covers(&self, x: u16, y: u16) -> bool {
        self.y == y && (self.x..self.x.saturating_add(self.width)).contains(&x)
    }
}

/// The links that the terminal shows.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Each with whether something was written over it since.
    shown: Vec<(Link, bool)>,
}

impl Links {
    /// A cell is written without a link.
    pub(super) fn written(&mut self, x: u16, y: u16) {
        for (link, is_written) in &mut self.shown {
            *is_written |= link.covers(x, y);
        }
    }

    /// A part of the screen went up.
    pub(super) fn scrolled(&mut self, top: usize, bottom: usize, by: usize) {
        self.shown.retain_mut(|(link, _)| {
            let y = usize::from(link.y);
            if !(top..=bottom).contains(&y) {
                return true;
            }
            let is_left = y >= top + by;
            link.y = u16::try_from(y.saturating_sub(by)).unwrap_or(u16::MAX);
            is_left
        });
    }

    pub(super) fn clear(&mut self) {
        self.shown.clear();
    }
}

impl<W: Write> Writer<W> {
    /// Has these cells, and no others, be links. To be called after a frame was drawn.
    pub fn link(&mut self, links: Vec<Link>) -> io::Result<()> {
        let links = if self.is_ascii { Vec::new() } else { links };
        let shown = std::mem::take(&mut self.links.shown);
        let back = self.cursor;
        for (link, _) in shown.iter().filter(|(link, _)| !links.contains(link)) {
            self.write_again(link);
        }
        let is_there = |wanted: &Link| shown.iter().any(|(link, is_written)| link == wanted && !is_written);
        for link in links.iter().filter(|link| !is_there(link)) {
            // The parts of one link in several rows belong together.
            let mut hasher = DefaultHasher::new();
            link.url.hash(&mut hasher);
            // What is written on the way there is no part of it.
            self.go(link.x, link.y);
            self.push(&format!("\x1b]8;id={:x};{}\x1b\\", hasher.finish(), link.url));
            self.write_again(link);
            self.push("\x1b]8;;\x1b\\");
        }
        self.links.shown = links.into_iter().map(|link| (link, false)).collect();
        if self.frame.is_empty() {
            return Ok(());
        }
        if let Some((x, y)) = back {
            self.go(x, y);
        }
        self.flush()
    }

    /// Writes the cells under a link as they are.
    fn write_again(&mut self, link: &Link) {
        let (Some(row), Ok(size)) = (self.rows.get(usize::from(link.y)), self.size()) else { return };
        let cells: Vec<_> = row.shown().filter(|(x, _)| link.covers(*x, link.y)).collect();
        let cells: Vec<_> = cells.into_iter().map(|(x, cell)| (x, cell.clone())).collect();
        for (x, cell) in cells {
            self.put(x, link.y, &cell, size.width);
        }
    }
}
