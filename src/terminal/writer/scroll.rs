//! Rows that stand elsewhere now: the terminal moves them (DECSTBM and a line feed, which every terminal knows), in place of
//! having them written again.

use std::collections::BTreeMap;

use super::Row;

/// Rows that a message may take that comes below the others.
const MOST: usize = 6;

/// Going to a region and back takes about as many bytes as so many cells.
const WORTH: usize = 48;

/// A part of the screen that goes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scroll {
    /// Its first row.
    pub(super) top: usize,
    /// Its last row.
    pub(super) bottom: usize,
    /// By so many rows.
    pub(super) by: usize,
}

/// The part that is to go up, so that the fewest cells are left to be written; nothing where it is not worth it. `rows` is what
/// the terminal shows, `wanted` what it is to show in the rows that change.
pub(super) fn find(rows: &[Row], wanted: &BTreeMap<usize, Row>) -> Option<Scroll> {
    let (first, last) = (*wanted.keys().next()?, *wanted.keys().next_back()?);
    if last - first < MOST {
        return None;
    }
    let blank = Row::default();
    let at = |y: usize| rows.get(y).unwrap_or(&blank);
    let to_be = |y: usize| wanted.get(&y).unwrap_or_else(|| at(y));
    let costs = |before: &dyn Fn(usize) -> usize| (first..=last).map(before).collect::<Vec<usize>>();
    let as_it_is = costs(&|y| to_be(y).differs(at(y)));
    let from_blank = costs(&|y| to_be(y).differs(&blank));
    let cost = |costs: &[usize], y: usize| costs.get(y - first).copied().unwrap_or(0).cast_signed();
    let mut best = (WORTH, None);
    for by in 1..=MOST {
        // What is saved by each row as the last of those that come from below, and the best part that ends there.
        let mut sum = 0_isize;
        let mut top = first;
        for y in first..=last.saturating_sub(by) {
            let then = to_be(y).differs(at(y + by)).cast_signed();
            if sum <= 0 {
                (sum, top) = (0, y);
            }
            sum += cost(&as_it_is, y) - then;
            // Below them rows come in that are blank.
            let come_in = (y + 1..=y + by).map(|y| cost(&as_it_is, y) - cost(&from_blank, y));
            let saved = usize::try_from(sum + come_in.sum::<isize>()).unwrap_or(0);
            if saved > best.0 {
                best = (saved, Some(Scroll { top, bottom: y + by, by }));
            }
        }
    }
    best.1
}
