//! Export and import: whole trees as JSON, the branch on screen as Markdown.

use std::{collections::BTreeMap, io::Write as _, path::Path};

use serde::{Deserialize, Serialize};

use super::{Chat, ChatId, Conversation, Message, MessageId, MessageState, Role, fresh_id};
use crate::{problem::Problem, words};

/// Value of `format` in files.
const FORMAT: &str = "coppice-chats";
/// Version of the format.
const SCHEMA: u32 = 1;
/// Largest file that is read.
const MOST_BYTES: u64 = 1 << 30;

/// How a conversation is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// All branches; can be imported again.
    Json,
    /// The branch on screen, for readers.
    Markdown,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: String,
    schema: u32,
    coppice: String,
    chats: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(flatten)]
    chat: Chat,
    messages: Vec<Message>,
}

/// Conversations as JSON, all branches included.
pub(super) fn json(chats: Vec<(Chat, Vec<Message>)>) -> String {
    let entry = |(chat, messages)| Entry { chat, messages };
    let file = File {
        format: FORMAT.into(),
        schema: SCHEMA,
        coppice: env!("CARGO_PKG_VERSION").into(),
        chats: chats.into_iter().map(entry).collect(),
    };
    serde_json::to_string_pretty(&file).expect("conversations are plain data")
}

/// The branch on screen as Markdown.
pub fn markdown(conversation: &Conversation) -> String {
    let chat = &conversation.chat;
    let mut text = format!("# {}\n\n", chat.title);
    if !chat.system.is_empty() {
        text.push_str(&format!("## System\n\n{}\n\n", chat.system.trim_end()));
    }
    for message in conversation.path().into_iter().filter_map(|id| conversation.get(id)) {
        let who = match message.role {
            Role::User => "User",
            Role::Assistant => "Assistant",
        };
        text.push_str(&format!("## {who}\n\n{}\n\n", message.content.trim_end()));
        if let Some(figures) = &message.figures {
            text.push_str(&format!(
                "*{} on {}, {}, {:.1} tokens/s, first token after {:.0} ms, {} of {} drafted \
                 tokens accepted*\n\n",
                figures.model,
                figures.device,
                words::tokens(figures.tokens),
                figures.tokens_per_second,
                figures.first_token_ms,
                figures.accepted,
                figures.drafted
            ));
        }
    }
    text
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Problem> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let written = std::fs::File::create(&partial)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&partial, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&partial);
        Problem::new(
            format!("cannot write {}: {error}", path.display()),
            "choose another folder; the conversation is still here",
        )
    })
}

/// Reads conversations that [`json`] wrote, with ids of their own, so that a file can be imported
/// beside what it was made from.
pub(super) fn read(path: &Path) -> Result<Vec<(Chat, Vec<Message>)>, Problem> {
    let wrong = |what: String| {
        Problem::new(
            format!("{}: {what}", path.display()),
            "choose a JSON file that this app exported; nothing was imported",
        )
    };
    let meta = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    if meta.len() > MOST_BYTES {
        return Err(wrong(format!("{} bytes, more than {MOST_BYTES}", meta.len())));
    }
    let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let file: File = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    if file.format != FORMAT {
        return Err(wrong(format!("format `{}`, wanted `{FORMAT}`", file.format)));
    }
    if file.schema > SCHEMA {
        return Err(wrong(format!("schema {}, this version knows {SCHEMA}", file.schema)));
    }
    Ok(file.chats.into_iter().map(renumbered).collect())
}

fn renumbered(entry: Entry) -> (Chat, Vec<Message>) {
    let Entry { chat, messages } = entry;
    // Sorts, and mends what does not fit together.
    let tree = Conversation::new(chat, messages);
    let ids: BTreeMap<MessageId, MessageId> =
        tree.messages().map(|message| (message.id, MessageId(fresh_id()))).collect();
    let renamed = |id: Option<MessageId>| id.and_then(|id| ids.get(&id).copied());
    let messages = tree
        .messages()
        .map(|message| Message {
            id: ids[&message.id],
            parent: renamed(message.parent),
            state: match message.state {
                MessageState::Writing => MessageState::Interrupted,
                state => state,
            },
            ..message.clone()
        })
        .collect();
    let chat = Chat { id: ChatId(fresh_id()), head: renamed(tree.chat.head), ..tree.chat };
    (chat, messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn branched() -> Conversation {
        let mut chat = Conversation::new(Chat::new("Be brief."), []);
        let question = chat.add(Message::new(None, Role::User, "Why *trees*?"));
        chat.add(Message::new(Some(question), Role::Assistant, "Because."));
        chat.add(Message::new(Some(question), Role::Assistant, "More tokens a pass."));
        chat
    }

    /// Texts with the texts of their parents, and the head's.
    fn shape(chat: &Chat, messages: &[Message]) -> (Vec<(String, Option<String>)>, Option<String>) {
        let text = |id: Option<MessageId>| {
            messages.iter().find(|m| Some(m.id) == id).map(|m| m.content.clone())
        };
        let all = messages.iter().map(|m| (m.content.clone(), text(m.parent))).collect();
        (all, text(chat.head))
    }

    #[test]
    fn all_branches_come_back_with_new_ids() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("chats.json");
        let tree = branched();
        let messages: Vec<_> = tree.messages().cloned().collect();
        write(&path, &json(vec![(tree.chat.clone(), messages.clone())])).expect("writable");
        let read = read(&path).expect("it was just written");
        let [(chat, read)] = read.as_slice() else { panic!("one chat, not {}", read.len()) };
        assert_eq!(shape(chat, read), shape(&tree.chat, &messages));
        assert_eq!((&chat.title, &chat.system), (&tree.chat.title, &tree.chat.system));
        assert!(chat.id != tree.chat.id && read.iter().all(|m| tree.get(m.id).is_none()));
    }

    #[test]
    fn markdown_shows_the_branch_on_screen() {
        let text = markdown(&branched());
        assert_eq!(
            text,
            "# Why *trees*?\n\n## System\n\nBe brief.\n\n## User\n\nWhy *trees*?\n\n\
             ## Assistant\n\nMore tokens a pass.\n\n"
        );
    }

    #[test]
    fn foreign_files_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("x.json");
        let newer = r#"{"format": "coppice-chats", "schema": 9, "coppice": "9", "chats": []}"#;
        let other = r#"{"format": "notes", "schema": 1, "coppice": "1", "chats": []}"#;
        for text in ["", "[]", "{\"format\": 1}", newer, other] {
            std::fs::write(&path, text).expect("writable");
            let problem = read(&path).expect_err(text);
            assert!(problem.what.contains("x.json"), "{problem}");
        }
    }
}
