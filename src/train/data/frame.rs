//! What the chat template writes around the turns of a conversation.

use crate::{
    error::{Error, Result},
    text::{
        AddSpecial, ChatInput, ChatTemplate, GenerationPrompt, Message, ParseSpecial, Tokenizer,
    },
};

/// Texts between turns. A conversation is `head`, a user's turn, `to_answer`, an answer, `to_user`,
/// a user's turn, `to_answer`, an answer, and so on.
///
/// They are found by rendering turns that are marks, so that a turn may be anything, even half
/// written, and the ids of an answer stay those that the model chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Before the first user's turn.
    pub head: String,
    /// From a user's turn to the answer.
    pub to_answer: String,
    /// From an answer to the next user's turn; `None` if there is no template.
    pub to_user: Option<String>,
}

/// Turns that no template changes and no template contains.
const MARKS: [&str; 3] = ["COPPICEFIRSTMARK", "COPPICESECONDMARK", "COPPICETHIRDMARK"];

impl Frame {
    /// The frame of a template, with a system prompt other than the template's own if given.
    ///
    /// # Errors
    /// A template that refuses such a conversation or does not print its turns in order.
    pub fn of(template: &ChatTemplate, system: Option<&str>) -> Result<Self> {
        let mut messages: Vec<Message> =
            system.map(|text| Message::new("system", text)).into_iter().collect();
        messages.push(Message::new("user", MARKS[0]));
        let lost = || Error::Invalid {
            message: "the chat template does not print the turns of a conversation in order".into(),
            hint: Some("use --raw to continue prompts without the template".into()),
        };
        let first = template.render(&ChatInput::new(&messages))?;
        let (head, to_answer) = first.split_once(MARKS[0]).ok_or_else(lost)?;
        messages.push(Message::new("assistant", MARKS[1]));
        messages.push(Message::new("user", MARKS[2]));
        let input =
            ChatInput { generation_prompt: GenerationPrompt::No, ..ChatInput::new(&messages) };
        let second = template.render(&input)?;
        let (_, behind) = second.split_once(MARKS[1]).ok_or_else(lost)?;
        let (to_user, _) = behind.split_once(MARKS[2]).ok_or_else(lost)?;
        Ok(Self {
            head: head.to_owned(),
            to_answer: to_answer.to_owned(),
            to_user: Some(to_user.to_owned()),
        })
    }

    /// The frame of a model that only continues text.
    pub fn raw() -> Self {
        Self { head: String::new(), to_answer: String::new(), to_user: None }
    }

    /// Ids of a text at the beginning of a conversation.
    pub(super) fn begin(&self, text: &str, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        // A template writes the beginning-of-text token itself.
        let add = if self.to_user.is_some() { AddSpecial::No } else { AddSpecial::Yes };
        Ok(tokenizer.encode(&format!("{}{text}", self.head), add, ParseSpecial::Yes)?)
    }

    /// Appends the ids of a text, without an end token that both carry.
    pub(super) fn append(ids: &mut Vec<u32>, text: &str, tokenizer: &Tokenizer) -> Result<()> {
        let more = tokenizer.encode(text, AddSpecial::No, ParseSpecial::Yes)?;
        let twice = ids.last().is_some_and(|last| {
            more.first() == Some(last) && tokenizer.is_end_of_generation(*last)
        });
        ids.extend(&more[usize::from(twice)..]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|s|>Be \
        kind<|e|>{% endif %}<|{{ m.role }}|>{{ m.content }}<|e|>\n{% endfor %}\
        {% if add_generation_prompt %}<|assistant|>{% endif %}";

    #[test]
    fn pieces_around_the_turns_are_found() {
        let template = ChatTemplate::new(CHATML, "a.gguf", "", "").expect("a template");
        let frame = Frame::of(&template, None).expect("in order");
        assert_eq!(frame.head, "<|s|>Be kind<|e|><|user|>");
        assert_eq!(frame.to_answer, "<|e|>\n<|assistant|>");
        assert_eq!(frame.to_user.as_deref(), Some("<|e|>\n<|user|>"));
        let frame = Frame::of(&template, Some("Rhyme.")).expect("in order");
        assert_eq!(frame.head, "<|system|>Rhyme.<|e|>\n<|user|>");
    }

    #[test]
    fn a_template_that_hides_turns_is_refused() {
        let template = ChatTemplate::new("hello", "a.gguf", "", "").expect("a template");
        let error = Frame::of(&template, None).expect_err("no turns");
        assert!(error.to_string().contains("turns"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("--raw")));
    }
}
