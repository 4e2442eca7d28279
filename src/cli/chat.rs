//! `coppice chat`: a conversation in the terminal.

use std::{
    fs,
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use rustyline::error::ReadlineError;

use super::{
    INTERRUPTED, drafters, high, interrupt, low, low_shared, record::Record, run::end_note,
    term::Term,
};
use crate::{
    engine::{Engine, Event, Request, StopReason},
    error::{Error, Result},
    sample::SamplerParams,
    spec::Speculation,
    text::{AddSpecial, ChatInput, Message, ParseSpecial},
};

const HELP: &str = "\
/system TEXT  new system prompt; the conversation begins anew
/retry        another answer to the last message
/save FILE    write the conversation as Markdown
/clear        begin anew
/quit         leave (also Ctrl-D)
Ctrl-C stops the answer, a second one leaves.";

pub(super) fn main(args: &low::Chat, term: &Term) -> anyhow::Result<ExitCode> {
    let sampler = high::sampler(&args.sampling)?;
    let cancel = interrupt::flag()?;
    let mut engine = high::engine(&args.model, &args.device, term)?;
    let spec =
        drafters::speculation(&mut engine, &args.speculation, (&args.model, &args.device), term)?;
    if engine.chat_template().is_none() {
        return Err(Error::Invalid {
            message: format!("{} has no chat template", engine.name()),
            hint: Some("use `coppice run --raw` with a model that is not tuned for chat".into()),
        }
        .into());
    }
    term.note(&term.dim(&format!(
        "{} on {}; /help lists commands",
        engine.name(),
        engine.adapter()
    )));
    let record = Record::new(args.output.trace.as_deref(), &engine, &sampler, &spec)?;
    let mut chat = Conversation {
        engine,
        sampler,
        spec,
        record,
        system: args.system.clone(),
        turns: Vec::new(),
        output: args.output.clone(),
    };
    let code = talk(&mut chat, &cancel, term)?;
    chat.record.finish(term)?;
    Ok(code)
}

/// Reads lines and answers them until the user leaves.
fn talk(chat: &mut Conversation, cancel: &AtomicBool, term: &Term) -> anyhow::Result<ExitCode> {
    let mut lines = Lines::new()?;
    loop {
        let line = match lines.next()? {
            Input::Line(line) => line,
            Input::Interrupted => return Ok(ExitCode::from(INTERRUPTED)),
            Input::End => return Ok(ExitCode::SUCCESS),
        };
        let (command, rest) = match line.trim().split_once(char::is_whitespace) {
            Some((command, rest)) => (command, rest.trim()),
            None => (line.trim(), ""),
        };
        let answered = match command {
            "" => Ok(()),
            "/quit" | "/exit" => return Ok(ExitCode::SUCCESS),
            "/help" => {
                term.note(HELP);
                Ok(())
            }
            "/clear" => {
                chat.turns.clear();
                Ok(())
            }
            "/system" => {
                chat.system = (!rest.is_empty()).then(|| rest.to_owned());
                chat.turns.clear();
                Ok(())
            }
            "/save" => chat.save(rest, term),
            "/retry" => chat.retry(cancel, term),
            command if command.starts_with('/') => {
                term.note(&format!("coppice: there is no `{command}`; /help lists commands"));
                Ok(())
            }
            _ => chat.say(line.trim(), cancel, term),
        };
        // One failed answer does not end the conversation.
        if let Err(error) = answered {
            term.note(&format!("coppice: {error}"));
            if let Some(hint) = error.hint() {
                term.note(&format!("hint: {hint}"));
            }
        }
        cancel.store(false, Ordering::SeqCst);
    }
}

struct Conversation {
    engine: Engine,
    sampler: SamplerParams,
    spec: Speculation,
    record: Record,
    system: Option<String>,
    turns: Vec<Message>,
    output: low_shared::Output,
}

impl Conversation {
    fn say(&mut self, text: &str, cancel: &AtomicBool, term: &Term) -> Result<()> {
        self.turns.push(Message::new("user", text));
        let answer = self.answer(cancel, term);
        if answer.is_err() {
            self.turns.pop();
        }
        answer
    }

    /// Drops the last answer and draws another seed.
    fn retry(&mut self, cancel: &AtomicBool, term: &Term) -> Result<()> {
        if self.turns.last().is_some_and(|turn| turn.role == "assistant") {
            self.turns.pop();
        }
        if self.turns.is_empty() {
            return Err(Error::invalid("there is nothing to retry"));
        }
        self.sampler.seed = self.sampler.seed.wrapping_add(1);
        self.answer(cancel, term)
    }

    fn answer(&mut self, cancel: &AtomicBool, term: &Term) -> Result<()> {
        let template =
            self.engine.chat_template().ok_or_else(|| Error::invalid("no chat template"))?;
        let system = self.system.iter().map(|text| Message::new("system", text));
        let messages: Vec<Message> = system.chain(self.turns.iter().cloned()).collect();
        let prompt = template.render(&ChatInput::new(&messages))?;
        let prompt = self.engine.tokenizer().encode(&prompt, AddSpecial::No, ParseSpecial::Yes)?;
        let request = Request {
            prompt,
            max_tokens: self.output.max_tokens,
            sampler: self.sampler.clone(),
            stop: self.output.stop.clone(),
            ignore_eos: self.output.ignore_eos,
            spec: self.spec.clone(),
        };
        self.record.begin(&request.prompt)?;
        let record = &mut self.record;
        let mut stdout = std::io::stdout();
        let generation = self.engine.generate(&request, cancel, &mut |event| match event {
            Event::Text(text) => {
                if stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_err() {
                    cancel.store(true, Ordering::SeqCst);
                }
            }
            Event::Round(outcome) => record.round(outcome),
            Event::Prompt { .. } => {}
        })?;
        term.note("");
        // The answer is there; a trace that failed takes nothing from it.
        if let Err(error) = self.record.end(generation.ids.len()) {
            term.note(&format!("coppice: {error}; the trace ends here"));
        }
        if generation.stop_reason == StopReason::Cancelled {
            term.note(&term.dim("(stopped)"));
        }
        end_note(&generation, &self.engine, term);
        self.turns.push(Message::new("assistant", &generation.text));
        Ok(())
    }

    fn save(&self, name: &str, term: &Term) -> Result<()> {
        if name.is_empty() {
            return Err(Error::invalid("/save needs a file name"));
        }
        let path = Path::new(name);
        let mut text = String::new();
        if let Some(system) = &self.system {
            text.push_str(&format!("## system\n\n{system}\n\n"));
        }
        for turn in &self.turns {
            text.push_str(&format!("## {}\n\n{}\n\n", turn.role, turn.content));
        }
        // Never over an existing file: a conversation is the user's.
        let written = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(path)
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|source| Error::Io {
            action: "cannot write",
            path: path.into(),
            source,
        })?;
        term.note(&format!("saved {name}"));
        Ok(())
    }
}

enum Input {
    Line(String),
    Interrupted,
    End,
}

/// Lines from an editor with history on a terminal, plain lines elsewhere.
struct Lines {
    editor: Option<rustyline::DefaultEditor>,
}

impl Lines {
    fn new() -> anyhow::Result<Self> {
        let editor = if std::io::stdin().is_terminal() {
            Some(rustyline::DefaultEditor::new()?)
        } else {
            None
        };
        Ok(Self { editor })
    }

    fn next(&mut self) -> anyhow::Result<Input> {
        let Some(editor) = &mut self.editor else {
            let mut line = String::new();
            let n = std::io::stdin().read_line(&mut line)?;
            return Ok(if n == 0 { Input::End } else { Input::Line(line) });
        };
        match editor.readline("> ") {
            Ok(line) => {
                editor.add_history_entry(line.as_str())?;
                Ok(Input::Line(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Input::Interrupted),
            Err(ReadlineError::Eof) => Ok(Input::End),
            Err(error) => Err(error.into()),
        }
    }
}
