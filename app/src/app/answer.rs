//! Answers: how one begins, grows and ends.

use std::time::{Duration, Instant};

use coppice::{engine::StopReason, text};
use egui::Context;

use super::App;
use crate::{
    history::{Asked, Figures, Message, MessageId, MessageState, Role, fresh_id},
    problem::Problem,
    state::{ModelState, Phase, Writing},
    words,
    worker::{Answer, ChatRequest},
};

/// How often the text so far is handed to the history.
const KEEP: Duration = Duration::from_secs(1);

/// Whether an answer is new or goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Begin {
    /// A new answer to this message, which may be none.
    New(Option<MessageId>),
    /// Goes on with this answer.
    Continue(MessageId),
}

impl App {
    /// Sends a message of the user and has it answered.
    pub(super) fn send(&mut self, text: &str) {
        let text = text.trim();
        if text.is_empty() || !self.can_answer() {
            return;
        }
        let message = Message::new(self.state.conversation.chat.head, Role::User, text);
        let id = self.state.conversation.add(message);
        self.keep(&[id]);
        self.state.composer.text.clear();
        self.answer(Begin::New(Some(id)));
    }

    /// Whether an answer can begin now; says why not where the user would look.
    pub(super) fn can_answer(&mut self) -> bool {
        let problem = match &self.state.model {
            ModelState::Ready(_) if self.state.compare.running.is_some() => Problem::new(
                "a comparison is being measured",
                "wait until it is done, or stop it in the explorer; your text is kept",
            ),
            ModelState::Ready(_) if self.state.writing.is_none() => return true,
            ModelState::Ready(_) => Problem::new(
                "another answer is being written",
                "stop it (Esc) or wait until it is done; your text is kept",
            ),
            ModelState::Loading { .. } => Problem::new(
                "the model is still being loaded",
                "send again when it is ready; your text is kept",
            ),
            ModelState::Absent | ModelState::Failed { .. } => Problem::new(
                "no model is loaded",
                "choose one from the model menu above, or drop a model file onto the window; your \
                 text is kept",
            ),
        };
        self.state.chat_problem = Some(problem);
        false
    }

    /// Has the model write.
    pub(super) fn answer(&mut self, begin: Begin) {
        if !self.can_answer() {
            return;
        }
        let Some(info) = self.state.model.ready() else { return };
        let sampling = &self.state.settings.sampling;
        let mut sampler = sampling.params.clone();
        if !sampling.fixed_seed {
            sampler.seed = fresh_id().unsigned_abs();
        }
        let figures = Figures {
            model: info.name.clone(),
            device: info.device.clone(),
            method: self.state.settings.drafting.method.name().into(),
            tokens: 0,
            tokens_per_second: 0.0,
            first_token_ms: 0.0,
            prompt_tokens: 0,
            drafted: 0,
            accepted: 0,
            rounds: 0,
            tokens_per_round: 0.0,
            stop_reason: None,
            context_used: 0,
            context: info.context,
            sampler: sampler.clone(),
        };
        let conversation = &mut self.state.conversation;
        let (id, prefix) = match begin {
            Begin::New(parent) => {
                let mut message = Message::new(parent, Role::Assistant, "");
                message.state = MessageState::Writing;
                (conversation.add(message), String::new())
            }
            Begin::Continue(id) => {
                let Some(message) = conversation.get_mut(id) else { return };
                message.state = MessageState::Writing;
                (id, message.content.clone())
            }
        };
        let system = conversation.chat.system.trim();
        let system = (!system.is_empty()).then(|| text::Message::new("system", system));
        let path = conversation.path_to(conversation.get(id).and_then(|message| message.parent));
        let turns = path.iter().filter_map(|id| conversation.get(*id));
        let turns = turns.map(|turn| text::Message::new(turn.role.name(), &turn.content));
        let messages: Vec<_> = system.into_iter().chain(turns).collect();
        self.keep(&[id]);
        self.state.chat_problem = None;
        let request = ChatRequest {
            messages,
            prefix,
            sampler,
            max_tokens: match self.state.settings.sampling.max_tokens {
                0 => None,
                tokens => Some(tokens),
            },
            stop: self.state.settings.sampling.stop_texts(),
            drafting: self.state.settings.drafting.clone(),
        };
        let now = Instant::now();
        self.state.writing = Some(Writing {
            message: id,
            elsewhere: None,
            phase: Phase::Prompt,
            since: now,
            prompt_done: None,
            tokens: 0,
            prompt_tokens: 0,
            kept: now,
            figures,
        });
        self.state.status = "Reading the prompt".into();
        self.worker.generate(request);
    }

    /// Measures two ways to draft for the prompt of the comparison.
    pub(super) fn compare(&mut self) {
        let compare = &mut self.state.compare;
        if self.state.model.ready().is_none()
            || self.state.writing.is_some()
            || compare.running.is_some()
        {
            return;
        }
        compare.begin();
        let sampling = &self.state.settings.sampling;
        let system = self.state.settings.system.trim();
        let system = (!system.is_empty()).then(|| text::Message::new("system", system));
        let asked = text::Message::new("user", &compare.prompt);
        let messages: Vec<_> = system.into_iter().chain([asked]).collect();
        let requests = compare.drafting.clone().map(|drafting| ChatRequest {
            messages: messages.clone(),
            prefix: String::new(),
            // One seed for both, the one that is set.
            sampler: sampling.params.clone(),
            max_tokens: Some(compare.max_tokens),
            stop: sampling.stop_texts(),
            drafting,
        });
        self.state.status = "Comparing".into();
        self.worker.compare(requests);
    }

    /// More text of the answer.
    pub(super) fn grow(&mut self, text: &str) {
        let Some(id) = self.state.writing.as_ref().map(|writing| writing.message) else { return };
        if let Some(message) =
            self.state.writing_conversation().and_then(|conversation| conversation.get_mut(id))
        {
            message.content.push_str(text);
        }
        let Some(writing) = &mut self.state.writing else { return };
        if writing.phase == Phase::Prompt {
            writing.phase = Phase::Answer;
            self.state.status = "Answering".into();
        }
        if writing.kept.elapsed() >= KEEP {
            writing.kept = Instant::now();
            self.keep_writing();
        }
    }

    /// The answer is complete.
    pub(super) fn finish(&mut self, answer: &Answer) {
        let Some(writing) = &mut self.state.writing else { return };
        writing.figures.measure(&answer.timings, answer.stop_reason, answer.context_used);
        let (state, status) = match answer.stop_reason {
            StopReason::Cancelled => (MessageState::Stopped, "Answer stopped".to_owned()),
            _ => (
                MessageState::Complete,
                format!("Answer finished: {}", words::tokens(answer.timings.predicted_n)),
            ),
        };
        self.end(state, status, true);
    }

    /// The answer failed; what there is of it stays.
    pub(super) fn fail(&mut self, problem: Problem) {
        self.state.status = format!("Answer failed: {}", problem.what);
        let status = self.state.status.clone();
        self.end(MessageState::Failed, status, false);
        self.state.chat_problem = Some(problem);
    }

    fn end(&mut self, state: MessageState, status: String, measured: bool) {
        let Some(id) = self.state.writing.as_ref().map(|writing| writing.message) else { return };
        let figures = self.state.writing.as_ref().map(|writing| writing.figures.clone());
        let Some(conversation) = self.state.writing_conversation() else { return };
        let empty = conversation.get(id).is_some_and(|message| message.content.is_empty());
        if let Some(message) = conversation.get_mut(id) {
            message.state = state;
            if measured {
                message.figures = figures;
            }
        }
        // A failed answer without a word is no message; its problem is shown below the question.
        let removed = if empty && state == MessageState::Failed {
            conversation.remove(id)
        } else {
            Vec::new()
        };
        if removed.is_empty() {
            self.keep_writing();
        } else {
            let chat = conversation.chat.clone();
            let gone = removed.iter().map(|message| message.id).collect();
            if let Some(history) = &self.history {
                history.ask(Asked::Remove(Box::new(chat), gone));
            }
        }
        self.state.writing = None;
        self.state.status = status;
    }

    /// Hands the answer so far to the history.
    fn keep_writing(&mut self) {
        let Some(id) = self.state.writing.as_ref().map(|writing| writing.message) else { return };
        let Some(conversation) = self.state.writing_conversation() else { return };
        let chat = conversation.chat.clone();
        let messages = conversation.get(id).cloned().into_iter().collect();
        if let Some(history) = &self.history {
            history.ask(Asked::Put(Box::new(chat), messages));
        }
    }

    /// Hands messages of the conversation on screen to the history.
    pub(super) fn keep(&mut self, ids: &[MessageId]) {
        let conversation = &self.state.conversation;
        let messages: Vec<_> = ids.iter().filter_map(|id| conversation.get(*id)).cloned().collect();
        let chat = conversation.chat.clone();
        match self.state.chats.iter_mut().find(|known| known.id == chat.id) {
            Some(known) => *known = chat.clone(),
            None => self.state.chats.push(chat.clone()),
        }
        self.state.chats.sort_by_key(|chat| std::cmp::Reverse((chat.updated_ms, chat.id)));
        if let Some(history) = &self.history {
            history.ask(Asked::Put(Box::new(chat), messages));
        }
    }

    /// Stops the answer.
    pub(super) fn stop(&mut self) {
        if let Some(writing) = &mut self.state.writing {
            writing.phase = Phase::Stopping;
            self.state.status = "Stopping".into();
            self.worker.stop();
        }
    }

    /// Ends everything; what was said is written when this returns.
    pub(super) fn close(&mut self) {
        self.worker.stop();
        // What the thread said last still belongs to the answer.
        self.take_news(&Context::default());
        if self.state.writing.is_some() {
            self.end(MessageState::Stopped, "Closing".into(), false);
        }
        if let Some(saver) = &mut self.saver {
            saver.save(&self.state.settings);
        }
        self.saver = None;
        self.history = None;
    }
}
