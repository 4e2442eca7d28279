//! The tree of messages that the window works on.

use std::collections::BTreeMap;

use super::{Chat, Message, MessageId, Role, fresh_id};

/// Longest title made from a first message, in characters.
const TITLE: usize = 48;

/// A conversation with all its branches. The branch on screen is the path from a root to
/// [`Chat::head`].
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// Title, system prompt, head.
    pub chat: Chat,
    messages: BTreeMap<MessageId, Message>,
}

impl Conversation {
    /// A conversation of messages in any order. Messages whose parent is missing become roots, so
    /// that nothing that can be read is hidden.
    pub fn new(chat: Chat, messages: impl IntoIterator<Item = Message>) -> Self {
        let mut all: BTreeMap<_, _> = messages.into_iter().map(|m| (m.id, m)).collect();
        // Parents are older than children: an edge that says otherwise would allow circles.
        let lost = |m: &Message, all: &BTreeMap<MessageId, Message>| {
            m.parent.is_some_and(|parent| parent >= m.id || !all.contains_key(&parent))
        };
        let roots: Vec<_> = all.values().filter(|m| lost(m, &all)).map(|m| m.id).collect();
        for id in roots {
            if let Some(message) = all.get_mut(&id) {
                message.parent = None;
            }
        }
        let mut this = Self { chat, messages: all };
        if this.chat.head.is_none_or(|head| !this.messages.contains_key(&head)) {
            this.chat.head = this.messages.keys().next_back().copied();
        }
        this
    }

    /// All messages, oldest first.
    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values()
    }

    /// A message.
    pub fn get(&self, id: MessageId) -> Option<&Message> {
        self.messages.get(&id)
    }

    /// A message, to be changed; its id and parent stay.
    pub fn get_mut(&mut self, id: MessageId) -> Option<&mut Message> {
        self.messages.get_mut(&id)
    }

    /// True without messages.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Ids of the branch on screen, first message first.
    pub fn path(&self) -> Vec<MessageId> {
        self.path_to(self.chat.head)
    }

    /// Ids from a root to a message.
    pub fn path_to(&self, last: Option<MessageId>) -> Vec<MessageId> {
        let mut path = Vec::new();
        let mut at = last;
        while let Some(message) = at.and_then(|id| self.messages.get(&id)) {
            path.push(message.id);
            at = message.parent;
        }
        path.reverse();
        path
    }

    /// The messages that share a message's parent, itself included, oldest first.
    pub fn siblings(&self, id: MessageId) -> Vec<MessageId> {
        let Some(message) = self.messages.get(&id) else { return Vec::new() };
        let same = |other: &&Message| other.parent == message.parent;
        self.messages.values().filter(same).map(|other| other.id).collect()
    }

    /// Shows the branch of a message: its newest descendant becomes the head.
    pub fn select(&mut self, id: MessageId) {
        let mut head = id;
        // Ids rise with time, so the newest child leads to where this branch was last worked on.
        while let Some(child) =
            self.messages.values().rev().find(|message| message.parent == Some(head))
        {
            head = child.id;
        }
        self.chat.head = Some(head);
    }

    /// The sibling so many places away, if there is one.
    pub fn sibling(&self, id: MessageId, places: isize) -> Option<MessageId> {
        let siblings = self.siblings(id);
        let at = siblings.iter().position(|&sibling| sibling == id)?;
        siblings.get(at.checked_add_signed(places)?).copied()
    }

    /// Adds a message and makes it the head; the first of the user gives the title.
    pub fn add(&mut self, message: Message) -> MessageId {
        let id = message.id;
        if self.chat.title.is_empty() && message.role == Role::User {
            self.chat.title = title_of(&message.content);
        }
        self.chat.updated_ms = message.created_ms;
        self.chat.head = Some(id);
        self.messages.insert(id, message);
        id
    }

    /// Removes a message and all below it; gives them. The branch of its nearest sibling, or else
    /// its parent, is shown.
    pub fn remove(&mut self, id: MessageId) -> Vec<Message> {
        let Some(message) = self.messages.get(&id) else { return Vec::new() };
        let parent = message.parent;
        let next = self.sibling(id, -1).or_else(|| self.sibling(id, 1));
        let mut gone = vec![id];
        // Children come after their parents.
        for message in self.messages.range(id..).map(|(_, message)| message) {
            if message.parent.is_some_and(|parent| gone.contains(&parent)) {
                gone.push(message.id);
            }
        }
        let shown = self.chat.head.is_some_and(|head| gone.contains(&head));
        let removed = gone.into_iter().filter_map(|id| self.messages.remove(&id)).collect();
        if shown {
            match next {
                Some(next) => self.select(next),
                None => self.chat.head = parent,
            }
        }
        removed
    }

    /// Puts removed messages back.
    pub fn restore(&mut self, messages: Vec<Message>) {
        let first = messages.first().map(|message| message.id);
        self.messages.extend(messages.into_iter().map(|message| (message.id, message)));
        if let Some(first) = first {
            self.select(first);
        }
    }

    /// A conversation of its own with copies of the messages up to one.
    pub fn branch(&self, last: MessageId) -> Self {
        let mut chat = Chat::new(self.chat.system.clone());
        chat.title = format!("{} (branch)", self.chat.title);
        let mut copy = Self { chat, messages: BTreeMap::new() };
        let mut parent = None;
        for id in self.path_to(Some(last)) {
            let message =
                Message { id: MessageId(fresh_id()), parent, ..self.messages[&id].clone() };
            parent = Some(copy.add(message));
        }
        copy
    }
}

/// First line of a message, shortened at a word.
fn title_of(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("New chat");
    let line = line.trim_start_matches(['#', '>', '-', '*', ' ']);
    if line.chars().count() <= TITLE {
        return line.to_owned();
    }
    let cut: String = line.chars().take(TITLE).collect();
    let end = cut.rfind(' ').filter(|&at| at > cut.len() / 2).unwrap_or(cut.len());
    format!("{}…", cut[..end].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(chat: &mut Conversation, role: Role, text: &str) -> MessageId {
        chat.add(Message::new(chat.chat.head, role, text))
    }

    fn texts(chat: &Conversation) -> Vec<&str> {
        let text = |id| chat.get(id).map_or("?", |message| message.content.as_str());
        chat.path().into_iter().map(text).collect()
    }

    #[test]
    fn editing_makes_a_branch_and_both_stay() {
        let mut chat = Conversation::new(Chat::new(""), []);
        let question = say(&mut chat, Role::User, "What is a tree?");
        say(&mut chat, Role::Assistant, "A graph.");
        assert_eq!(chat.chat.title, "What is a tree?");
        let edited = chat.add(Message::new(None, Role::User, "What is a copse?"));
        say(&mut chat, Role::Assistant, "A small wood.");
        assert_eq!(chat.siblings(edited), [question, edited]);
        assert_eq!(texts(&chat), ["What is a copse?", "A small wood."]);
        chat.select(chat.sibling(edited, -1).expect("there are two"));
        assert_eq!(texts(&chat), ["What is a tree?", "A graph."]);
        assert_eq!(chat.sibling(question, -1), None);
        assert_eq!(chat.sibling(edited, 1), None);
    }

    #[test]
    fn removed_messages_can_be_put_back() {
        let mut chat = Conversation::new(Chat::new(""), []);
        let question = say(&mut chat, Role::User, "One");
        let first = say(&mut chat, Role::Assistant, "1");
        say(&mut chat, Role::User, "Two");
        let second = chat.add(Message::new(Some(question), Role::Assistant, "I"));
        let before = chat.clone();
        chat.select(first);
        let removed = chat.remove(first);
        assert_eq!(removed.len(), 2);
        assert_eq!(chat.chat.head, Some(second), "the sibling is shown");
        chat.restore(removed);
        assert_eq!(texts(&chat), ["One", "1", "Two"]);
        chat.select(second);
        assert_eq!(chat, before);
        let all = chat.remove(question);
        assert_eq!((all.len(), chat.chat.head), (4, None));
    }

    #[test]
    fn a_branch_is_a_copy_with_ids_of_its_own() {
        let mut chat = Conversation::new(Chat::new("Be brief."), []);
        say(&mut chat, Role::User, "One");
        let answer = say(&mut chat, Role::Assistant, "1");
        say(&mut chat, Role::User, "Two");
        let branch = chat.branch(answer);
        assert_eq!(texts(&branch), ["One", "1"]);
        assert_eq!(branch.chat.system, "Be brief.");
        assert!(branch.messages().all(|message| chat.get(message.id).is_none()));
    }

    #[test]
    fn damaged_edges_hide_nothing() {
        let mut first = Message::new(None, Role::User, "a");
        let second = Message::new(Some(MessageId(1)), Role::Assistant, "b");
        first.parent = Some(second.id);
        let chat = Conversation::new(Chat::new(""), [first.clone(), second.clone()]);
        assert_eq!(chat.siblings(first.id), [first.id, second.id]);
        assert_eq!(chat.path(), [second.id]);
    }

    #[test]
    fn titles_end_at_a_word() {
        assert_eq!(title_of("\n  # Hello  \nthere"), "Hello");
        let long = "Explain how speculative decoding with candidate trees works in detail";
        assert_eq!(title_of(long), "Explain how speculative decoding with candidate…");
        assert_eq!(title_of("   "), "New chat");
        assert_eq!(title_of(&"字".repeat(60)), format!("{}…", "字".repeat(48)));
    }
}
