//! The index of words for the search. It follows what is kept: a message is kept without it, and found a little later.

use rusqlite::{Connection, Result, Transaction, params};

use super::tokenizer;
use crate::model::limits;

/// Adds messages that are not in the index yet, up to about [`limits::INDEXED_BYTES`] of them. True when there may be more.
pub(super) fn add(db: &mut Connection) -> Result<bool> {
    let last: i64 = db
        .prepare_cached("SELECT value FROM setting WHERE name = 'indexed'")?
        .query_row([], |row| row.get(0))?;
    let change = db.transaction()?;
    let mut indexed = last;
    let mut bytes = 0;
    {
        let mut insert =
            change.prepare_cached("INSERT OR REPLACE INTO message_text (rowid, text) VALUES (?, ?)")?;
        let mut next = change.prepare_cached("SELECT id, text FROM message WHERE id > ?1 ORDER BY id")?;
        let mut rows = next.query([last])?;
        while bytes < limits::INDEXED_BYTES
            && let Some(row) = rows.next()?
        {
            let text = row.get_ref(1)?.as_str()?;
            indexed = row.get(0)?;
            insert.execute(params![indexed, tokenizer::to_index(text)])?;
            // A message costs something even when it is short.
            bytes += text.len() + 64;
        }
    }
    if indexed == last {
        return Ok(false);
    }
    change.prepare_cached("UPDATE setting SET value = ? WHERE name = 'indexed'")?.execute([indexed])?;
    change.commit()?;
    Ok(bytes >= limits::INDEXED_BYTES)
}

/// Messages were deleted: the newest of them may leave their numbers to others, which are to be indexed as well.
pub(super) fn after_deleting(change: &Transaction<'_>) -> Result<()> {
    let newest = "coalesce((SELECT max(id) FROM message), 0)";
    change.execute(&format!("UPDATE setting SET value = min(value, {newest}) WHERE name = 'indexed'"), [])?;
    Ok(())
}
