//! The form of the history database, and how an older one becomes the newest.
//!
//! A step is never changed once it was released: a new one is added.

use rusqlite::{Connection, Result};

/// Each step takes the database from the version of its index to the next.
const STEPS: &[&str] = &[
    "
    CREATE TABLE network (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        name TEXT NOT NULL
    );
    CREATE TABLE person (
        id INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        alias TEXT NOT NULL
    );
    -- Person 0, whom no row has, is everyone.
    CREATE TABLE conversation (
        id INTEGER PRIMARY KEY,
        network INTEGER NOT NULL,
        person INTEGER NOT NULL,
        UNIQUE (network, person)
    );
    CREATE TABLE message (
        id INTEGER PRIMARY KEY,
        conversation INTEGER NOT NULL,
        author INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        place INTEGER NOT NULL,
        sent_at INTEGER NOT NULL,
        at INTEGER NOT NULL,
        text TEXT NOT NULL,
        signature BLOB,
        reference TEXT,
        UNIQUE (conversation, author, epoch, sequence)
    );
    CREATE INDEX message_place ON message (conversation, place);
    -- What became of own messages.
    CREATE TABLE delivery (
        message INTEGER NOT NULL,
        person INTEGER NOT NULL,
        status INTEGER NOT NULL,
        reason INTEGER,
        at INTEGER NOT NULL,
        PRIMARY KEY (message, person)
    ) WITHOUT ROWID;
    CREATE INDEX delivery_open ON delivery (message) WHERE status = 0;
    -- How far each numbering is here. Outlives the messages themselves.
    CREATE TABLE stream (
        conversation INTEGER NOT NULL,
        author INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        spans BLOB NOT NULL,
        PRIMARY KEY (conversation, author, epoch)
    ) WITHOUT ROWID;
    CREATE TABLE setting (
        name TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE VIRTUAL TABLE message_text USING fts5 (
        text, content = '', contentless_delete = 1, prefix = '1 2 3',
        tokenize = 'unicode61 remove_diacritics 2'
    );
",
    "
    ALTER TABLE message ADD COLUMN claims TEXT;
",
];

/// The newest version.
pub(super) fn newest() -> i64 {
    i64::try_from(STEPS.len()).unwrap_or(i64::MAX)
}

/// The version of a database; 0 for an empty one.
pub(super) fn version(db: &Connection) -> Result<i64> {
    db.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Brings a database to the newest version.
pub(super) fn migrate(db: &mut Connection) -> Result<()> {
    let version = version(db)?;
    let done = usize::try_from(version).unwrap_or(0);
    for (step, sql) in (version + 1..).zip(STEPS.iter().skip(done)) {
        let change = db.transaction()?;
        change.execute_batch(sql)?;
        change.pragma_update(None, "user_version", step)?;
        change.commit()?;
    }
    Ok(())
}
