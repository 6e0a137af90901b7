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
    // Batches, audiences and receipts in place of a row for each message and recipient. What was one message each is a
    // batch of one each; what was delivered beyond something that was not goes again, and is dropped there.
    "
    -- What it takes to rebuild what an author has signed. The texts are the messages'.
    CREATE TABLE batch (
        conversation INTEGER NOT NULL,
        author INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        signature BLOB NOT NULL,
        PRIMARY KEY (conversation, author, epoch, first)
    ) WITHOUT ROWID;
    INSERT INTO batch SELECT conversation, author, epoch, sequence, sequence, signature
        FROM message WHERE signature IS NOT NULL;
    -- Whom own messages are for. Resolution 1: they failed; 2: they were sent, and that is all that will be known.
    CREATE TABLE audience (
        conversation INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        person INTEGER NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER,
        resolution INTEGER,
        reason INTEGER,
        at INTEGER NOT NULL,
        PRIMARY KEY (conversation, epoch, person, first)
    ) WITHOUT ROWID;
    INSERT INTO audience
        SELECT conversation, epoch, person, min(sequence), max(sequence), resolution, reason, max(at) FROM (
            SELECT m.conversation, m.epoch, d.person, m.sequence, d.at, d.reason,
                CASE d.status WHEN 2 THEN 1 WHEN 3 THEN 2 END AS resolution,
                max(d.status, 1) AS kind,
                m.sequence - row_number() OVER (
                    PARTITION BY m.conversation, m.epoch, d.person, max(d.status, 1), d.reason
                    ORDER BY m.sequence
                ) AS island
            FROM delivery d JOIN message m ON m.id = d.message
        ) GROUP BY conversation, epoch, person, kind, reason, island;
    -- Who has own messages: everything that is addressed to it up to a number, since then.
    CREATE TABLE receipt (
        conversation INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        person INTEGER NOT NULL,
        up_to INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (conversation, epoch, person, up_to)
    ) WITHOUT ROWID;
    INSERT INTO receipt
        SELECT m.conversation, m.epoch, d.person, max(m.sequence), d.at
        FROM delivery d JOIN message m ON m.id = d.message
        LEFT JOIN (
            SELECT n.conversation, n.epoch, o.person, min(n.sequence) AS sequence
            FROM delivery o JOIN message n ON n.id = o.message WHERE o.status = 0
            GROUP BY n.conversation, n.epoch, o.person
        ) open ON open.conversation = m.conversation AND open.epoch = m.epoch AND open.person = d.person
        WHERE d.status = 1 AND (open.sequence IS NULL OR m.sequence < open.sequence)
        GROUP BY m.conversation, m.epoch, d.person, d.at;
    DROP TABLE delivery;
    ALTER TABLE message DROP COLUMN signature;
    -- Every session counts anew: whether the last one ended in order does not matter.
    DELETE FROM setting WHERE name = 'whole';
",
    // The index follows what is kept: the last message that is in it.
    "
    INSERT INTO setting VALUES ('indexed', coalesce((SELECT max(id) FROM message), 0));
",
    // What is written and not sent, and whose words are folded.
    "
    CREATE TABLE draft (
        conversation INTEGER PRIMARY KEY,
        text TEXT NOT NULL
    );
    CREATE TABLE muted (
        person INTEGER PRIMARY KEY
    );
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
