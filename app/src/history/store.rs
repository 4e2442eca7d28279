//! The file of conversations.
//!
//! Write-ahead log with full synchronisation: when a call returns, what it wrote survives the end of
//! the process and of the machine. One writer, the history thread; further processes may read, and
//! wait for each other for a while when both write.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OptionalExtension as _, Row, named_params, params};

use super::{Chat, ChatId, Figures, Message, MessageId, MessageState, Role, schema};
use crate::problem::Problem;

/// How long to wait for another process that writes.
const BUSY: Duration = Duration::from_secs(5);
/// Shortest query that trigrams can answer.
const TRIGRAM: usize = 3;
/// Most hits of a search.
const HITS: usize = 200;

/// What can go wrong with the file.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite's own.
    Sqlite(rusqlite::Error),
    /// Made by a newer version of the app.
    Newer {
        /// Its version.
        found: usize,
        /// Ours.
        known: usize,
    },
    /// A row that makes no sense.
    Damaged {
        /// What.
        what: String,
    },
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl StoreError {
    /// As shown to the user, naming the file.
    pub fn problem(&self, path: &Path) -> Problem {
        use rusqlite::ErrorCode as Code;
        let path = path.display();
        match self {
            Self::Newer { found, known } => Problem::new(
                format!(
                    "{path} was written by a newer version of the app (format {found}, this one knows {known})"
                ),
                "update the app; the file has not been touched",
            ),
            Self::Damaged { what } => Problem::new(
                format!("{path} is damaged: {what}"),
                "move the file away to begin anew; `sqlite3 FILE .recover` can often read it",
            ),
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(Code::DiskFull) => Problem::new(
                    format!("the disk of {path} is full"),
                    "free some room, then choose Save again; nothing is lost while the app runs",
                ),
                Some(Code::NotADatabase | Code::DatabaseCorrupt) => Problem::new(
                    format!("{path} is no history or is damaged: {error}"),
                    "move the file away to begin anew; `sqlite3 FILE .recover` can often read it",
                ),
                Some(Code::DatabaseBusy | Code::DatabaseLocked) => Problem::new(
                    format!("{path} is in use by another program"),
                    "close the other program, then choose Save again",
                ),
                Some(Code::ReadOnly | Code::CannotOpen | Code::PermissionDenied) => Problem::new(
                    format!("{path} cannot be written: {error}"),
                    "check who owns the folder, or set COPPICE_HOME to another",
                ),
                _ => Problem::new(
                    format!("{path}: {error}"),
                    "choose Save again; nothing is lost while the app runs",
                ),
            },
        }
    }
}

/// A message that a search found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its conversation.
    pub chat: ChatId,
    /// Title of that.
    pub title: String,
    /// The message.
    pub message: MessageId,
    /// Text around the place.
    pub excerpt: String,
}

/// The open file.
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

impl Store {
    /// Opens or makes a file. Answers that an earlier process was writing become
    /// [`MessageState::Interrupted`].
    ///
    /// # Errors
    /// A file that is no history, is newer than this version, or cannot be written.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        schema::migrate(&mut connection)?;
        connection.execute(
            "UPDATE messages SET state = ?1 WHERE state = ?2",
            [MessageState::Interrupted.name(), MessageState::Writing.name()],
        )?;
        Ok(Self { connection, path: path.into() })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SQLite's own check of the whole file.
    ///
    /// # Errors
    /// A damaged file, saying how.
    pub fn check(&self) -> Result<(), StoreError> {
        let said: String =
            self.connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        if said == "ok" { Ok(()) } else { Err(StoreError::Damaged { what: said }) }
    }

    /// Limits the file to so many bytes, as a full disk would.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn limit_bytes(&self, bytes: u64) -> Result<(), StoreError> {
        let page: i64 = self.connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
        // Zero would only ask; less than there is means no more than there is.
        let pages = pages.max(1);
        self.connection.pragma_update(None, "max_page_count", pages)?;
        Ok(())
    }

    /// All conversations, newest first, those put away included.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn chats(&self) -> Result<Vec<Chat>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, title, system, head, created_ms, updated_ms, deleted FROM chats
             ORDER BY updated_ms DESC, id DESC",
        )?;
        let rows = statement.query_map([], chat_of)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// A conversation.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn chat(&self, id: ChatId) -> Result<Option<Chat>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, title, system, head, created_ms, updated_ms, deleted FROM chats WHERE id = ?1",
        )?;
        Ok(statement.query_row([id.0], chat_of).optional()?)
    }

    /// Messages of a conversation, oldest first, without those put away.
    ///
    /// # Errors
    /// SQLite's own, and a row of an unknown role or state.
    pub fn messages(&self, chat: ChatId) -> Result<Vec<Message>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, parent, role, content, created_ms, state, figures FROM messages
             WHERE chat = ?1 AND deleted = 0 ORDER BY id",
        )?;
        let mut rows = statement.query([chat.0])?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            all.push(message_of(row)?);
        }
        Ok(all)
    }

    /// Writes a conversation, new or changed.
    ///
    /// # Errors
    /// SQLite's own; then nothing is changed.
    pub fn put_chat(&self, chat: &Chat) -> Result<(), StoreError> {
        self.connection
            .prepare_cached(
                "INSERT INTO chats (id, title, system, head, created_ms, updated_ms, deleted)
                 VALUES (:id, :title, :system, :head, :created_ms, :updated_ms, :deleted)
                 ON CONFLICT (id) DO UPDATE SET title = :title, system = :system, head = :head,
                     updated_ms = :updated_ms, deleted = :deleted",
            )?
            .execute(named_params! {
                ":id": chat.id.0,
                ":title": chat.title,
                ":system": chat.system,
                ":head": chat.head.map(|head| head.0),
                ":created_ms": chat.created_ms,
                ":updated_ms": chat.updated_ms,
                ":deleted": chat.deleted,
            })?;
        Ok(())
    }

    /// Writes messages, new or changed, and the conversation they belong to: all or nothing.
    ///
    /// # Errors
    /// SQLite's own; then nothing is changed.
    pub fn put(&mut self, chat: &Chat, messages: &[Message]) -> Result<(), StoreError> {
        // A savepoint rather than a transaction, as `put_all` wraps several of these in one.
        self.connection.execute_batch("SAVEPOINT put")?;
        let written = self.put_chat(chat).and_then(|()| {
            messages.iter().try_for_each(|message| self.put_message(chat.id, message))
        });
        match written {
            Ok(()) => Ok(self.connection.execute_batch("RELEASE put")?),
            Err(error) => {
                // SQLite may have rolled back on its own account, as it does on a full disk.
                let _ = self.connection.execute_batch("ROLLBACK TO put; RELEASE put");
                Err(error)
            }
        }
    }

    fn put_message(&self, chat: ChatId, message: &Message) -> Result<(), StoreError> {
        let figures = message.figures.as_ref().map(serde_json::to_string).transpose();
        let figures = figures.map_err(|error| StoreError::Damaged { what: error.to_string() })?;
        self.connection
            .prepare_cached(
                "INSERT INTO messages (id, chat, parent, role, content, created_ms, state, figures)
                 VALUES (:id, :chat, :parent, :role, :content, :created_ms, :state, :figures)
                 ON CONFLICT (id) DO UPDATE SET content = :content, state = :state,
                     figures = :figures, deleted = 0",
            )?
            .execute(named_params! {
                ":id": message.id.0,
                ":chat": chat.0,
                ":parent": message.parent.map(|parent| parent.0),
                ":role": message.role.name(),
                ":content": message.content,
                ":created_ms": message.created_ms,
                ":state": message.state.name(),
                ":figures": figures,
            })?;
        Ok(())
    }

    /// Puts messages away; [`Store::put`] brings them back.
    ///
    /// # Errors
    /// SQLite's own; then nothing is changed.
    pub fn remove(&mut self, chat: &Chat, messages: &[MessageId]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        for id in messages {
            transaction.execute("UPDATE messages SET deleted = 1 WHERE id = ?1", [id.0])?;
        }
        transaction.execute(
            "UPDATE chats SET head = ?2, updated_ms = ?3 WHERE id = ?1",
            params![chat.id.0, chat.head.map(|head| head.0), chat.updated_ms],
        )?;
        Ok(transaction.commit()?)
    }

    /// Erases a conversation for good.
    ///
    /// # Errors
    /// SQLite's own; then nothing is changed.
    pub fn erase(&mut self, chat: ChatId) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM chats WHERE id = ?1", [chat.0])?;
        Ok(())
    }

    /// Writes many conversations: all or nothing.
    ///
    /// # Errors
    /// SQLite's own; then nothing is changed.
    pub fn put_all(&mut self, chats: &[(Chat, Vec<Message>)]) -> Result<(), StoreError> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let written = chats.iter().try_for_each(|(chat, messages)| self.put(chat, messages));
        match written {
            Ok(()) => Ok(self.connection.execute_batch("COMMIT")?),
            Err(error) => {
                let _ = self.connection.execute_batch("ROLLBACK");
                Err(error)
            }
        }
    }

    /// Messages that contain a text, newest first. Case and, from three letters on, marks are as
    /// SQLite compares them.
    ///
    /// # Errors
    /// SQLite's own.
    pub fn search(&self, query: &str) -> Result<Vec<Hit>, StoreError> {
        let query = query.trim();
        if query.is_empty() {
            return Ok(Vec::new());
        }
        let (condition, pattern) = if query.chars().count() >= TRIGRAM {
            // A phrase: whatever the user types is looked for as it is.
            let phrase = format!("\"{}\"", query.replace('"', "\"\""));
            ("m.id IN (SELECT rowid FROM found WHERE found MATCH ?1)", phrase)
        } else {
            let escaped = query.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            ("m.content LIKE ?1 ESCAPE '\\'", format!("%{escaped}%"))
        };
        let mut statement = self.connection.prepare_cached(&format!(
            "SELECT m.chat, c.title, m.id, m.content FROM messages m JOIN chats c ON c.id = m.chat
             WHERE {condition} AND m.deleted = 0 AND c.deleted = 0 ORDER BY m.id DESC LIMIT {HITS}"
        ))?;
        let rows = statement.query_map([&pattern], |row| {
            let content: String = row.get(3)?;
            Ok(Hit {
                chat: ChatId(row.get(0)?),
                title: row.get(1)?,
                message: MessageId(row.get(2)?),
                excerpt: excerpt(&content, query),
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn chat_of(row: &Row<'_>) -> rusqlite::Result<Chat> {
    Ok(Chat {
        id: ChatId(row.get(0)?),
        title: row.get(1)?,
        system: row.get(2)?,
        head: row.get::<_, Option<i64>>(3)?.map(MessageId),
        created_ms: row.get(4)?,
        updated_ms: row.get(5)?,
        deleted: row.get(6)?,
    })
}

fn message_of(row: &Row<'_>) -> Result<Message, StoreError> {
    let id: i64 = row.get(0)?;
    let damaged = |what: &str, value: &str| StoreError::Damaged {
        what: format!("message {id} has the {what} `{value}`"),
    };
    let (role, state): (String, String) = (row.get(2)?, row.get(5)?);
    let figures: Option<String> = row.get(6)?;
    let states = MessageState::ALL;
    Ok(Message {
        id: MessageId(id),
        parent: row.get::<_, Option<i64>>(1)?.map(MessageId),
        role: Role::from_name(&role).ok_or_else(|| damaged("role", &role))?,
        content: row.get(3)?,
        created_ms: row.get(4)?,
        state: states
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or_else(|| damaged("state", &state))?,
        // Figures are notes: those of another version are left out rather than the message.
        figures: figures.and_then(|text| serde_json::from_str::<Figures>(&text).ok()),
    })
}

/// One line of text around the first place of a query.
fn excerpt(content: &str, query: &str) -> String {
    const BEFORE: usize = 24;
    const LENGTH: usize = 90;
    let lower = content.to_lowercase();
    // Lower case may change lengths; then the excerpt begins at the start.
    let at = match lower.find(&query.to_lowercase()) {
        Some(at) if lower.len() == content.len() && content.is_char_boundary(at) => at,
        _ => 0,
    };
    let skipped = content[..at].chars().count().saturating_sub(BEFORE);
    let text: String = content.chars().skip(skipped).take(LENGTH).collect();
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if skipped > 0 { format!("…{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(&folder.path().join("history.db")).expect("it can be made");
        (folder, store)
    }

    fn talk(texts: &[&str]) -> (Chat, Vec<Message>) {
        let mut chat = Chat::new("Be brief.");
        let mut messages: Vec<Message> = Vec::new();
        for (n, text) in texts.iter().enumerate() {
            let role = if n % 2 == 0 { Role::User } else { Role::Assistant };
            messages.push(Message::new(messages.last().map(|m| m.id), role, *text));
        }
        chat.head = messages.last().map(|m| m.id);
        (chat, messages)
    }

    #[test]
    fn what_is_put_is_there_when_opened_again() {
        let (folder, mut store) = store();
        let (chat, messages) = talk(&["Hello", "Hi", "字を読む 🙂"]);
        store.put(&chat, &messages).expect("there is room");
        drop(store);
        let store = Store::open(&folder.path().join("history.db")).expect("it is there");
        assert_eq!(store.chats().expect("readable"), std::slice::from_ref(&chat));
        assert_eq!(store.messages(chat.id).expect("readable"), messages);
        store.check().expect("it is whole");
    }

    #[test]
    fn an_answer_cut_off_is_marked() {
        let (folder, mut store) = store();
        let (chat, mut messages) = talk(&["Hello", "Once upon"]);
        messages[1].state = MessageState::Writing;
        store.put(&chat, &messages).expect("there is room");
        drop(store);
        let store = Store::open(&folder.path().join("history.db")).expect("it is there");
        let read = store.messages(chat.id).expect("readable");
        assert_eq!((read[1].state, &*read[1].content), (MessageState::Interrupted, "Once upon"));
    }

    #[test]
    fn search_finds_parts_of_words_and_scripts_without_spaces() {
        let (_folder, mut store) = store();
        let (chat, mut messages) =
            talk(&["Speculative decoding", "東京は日本の首都です", "100 % \"sure\""]);
        store.put(&chat, &messages).expect("there is room");
        let found = |query: &str| -> Vec<MessageId> {
            store.search(query).expect(query).into_iter().map(|hit| hit.message).collect()
        };
        assert_eq!(found("CULAT"), [messages[0].id]);
        assert_eq!(found("日本の"), [messages[1].id]);
        assert_eq!(found("首"), [messages[1].id]);
        assert_eq!(found("0 %"), [messages[2].id]);
        assert_eq!(found("%"), [messages[2].id]);
        assert_eq!(found("\"sure\""), [messages[2].id]);
        assert_eq!(found("AND"), []);
        assert_eq!(found("  "), []);
        messages[0].content = "Plain sampling".into();
        store.put(&chat, &messages).expect("there is room");
        assert!(store.search("specul").expect("readable").is_empty(), "the old text is forgotten");
        assert_eq!(store.search("plain").expect("readable").len(), 1);
        store.remove(&chat, &[messages[0].id]).expect("there is room");
        assert!(store.search("plain").expect("readable").is_empty(), "put away");
        store.put(&chat, &messages).expect("there is room");
        assert_eq!(store.search("plain").expect("readable").len(), 1, "and back");
        store.erase(chat.id).expect("there is room");
        assert!(store.search("plain").expect("readable").is_empty());
        store.check().expect("it is whole");
    }

    #[test]
    fn a_full_disk_changes_nothing_and_is_named() {
        let (_folder, mut store) = store();
        let (chat, messages) = talk(&["Hello", "Hi"]);
        store.put(&chat, &messages).expect("there is room");
        store.limit_bytes(0).expect("a limit");
        let mut long = messages.clone();
        long[1].content = "word ".repeat(100_000);
        let error = store.put(&chat, &long).expect_err("there is no room");
        let problem = error.problem(store.path());
        assert!(problem.what.contains("full"), "{problem}");
        assert_eq!(store.messages(chat.id).expect("readable"), messages);
        store.limit_bytes(1 << 30).expect("a limit");
        store.put(&chat, &long).expect("there is room again");
        assert_eq!(store.messages(chat.id).expect("readable"), long);
    }

    #[test]
    fn newer_and_foreign_files_are_left_alone() {
        let (folder, store) = store();
        let path = folder.path().join("history.db");
        store.connection.pragma_update(None, "user_version", 99).expect("a number");
        drop(store);
        let error = Store::open(&path).err().expect("it is newer");
        assert!(error.problem(&path).what.contains("format 99"), "{error:?}");
        let foreign = folder.path().join("letter.db");
        std::fs::write(&foreign, "Dear Sir or Madam, ".repeat(100)).expect("writable");
        let error = Store::open(&foreign).err().expect("it is no history");
        assert!(error.problem(&foreign).what.contains("letter.db"), "{error:?}");
        assert_eq!(std::fs::read(&foreign).expect("it is there").len(), 1900);
    }
}
