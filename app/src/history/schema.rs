//! Tables and how older files become current.

use rusqlite::{Connection, Transaction};

use super::store::StoreError;

/// Steps from an empty file to the current tables; `user_version` counts those that are done. Steps
/// are only ever added.
const STEPS: [&str; 1] = ["
    CREATE TABLE chats (
        id         INTEGER PRIMARY KEY,
        title      TEXT NOT NULL,
        system     TEXT NOT NULL,
        head       INTEGER,
        created_ms INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL,
        deleted    INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE messages (
        id         INTEGER PRIMARY KEY,
        chat       INTEGER NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
        parent     INTEGER,
        role       TEXT NOT NULL,
        content    TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        state      TEXT NOT NULL,
        figures    TEXT,
        deleted    INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE INDEX messages_by_chat ON messages (chat);
    CREATE INDEX chats_by_time ON chats (deleted, updated_ms);
    -- Trigrams find parts of words, and words of scripts without spaces.
    CREATE VIRTUAL TABLE found USING fts5 (
        content, content = 'messages', content_rowid = 'id', tokenize = 'trigram'
    );
    CREATE TRIGGER messages_added AFTER INSERT ON messages BEGIN
        INSERT INTO found (rowid, content) VALUES (new.id, new.content);
    END;
    CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
        INSERT INTO found (found, rowid, content) VALUES ('delete', old.id, old.content);
    END;
    CREATE TRIGGER messages_changed AFTER UPDATE OF content ON messages BEGIN
        INSERT INTO found (found, rowid, content) VALUES ('delete', old.id, old.content);
        INSERT INTO found (rowid, content) VALUES (new.id, new.content);
    END;
"];

/// Brings a file to the current tables, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let done: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let done = usize::try_from(done).unwrap_or(usize::MAX);
    if done > STEPS.len() {
        return Err(StoreError::Newer { found: done, known: STEPS.len() });
    }
    for (n, step) in STEPS.iter().enumerate().skip(done) {
        let transaction: Transaction<'_> = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", n as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}
