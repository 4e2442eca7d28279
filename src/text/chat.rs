//! Chat templates: the Jinja programs that models carry, run as `transformers` runs them.
//!
//! That means blocks swallow the newline after them, Python's string and dict methods exist, and
//! there are `raise_exception`, `strftime_now` and a `tojson` with Python's spacing that leaves
//! `<` alone. Templates come from strangers, so instructions, recursion, source and output are
//! limited.

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use minijinja::{
    Environment, ErrorKind, Value,
    syntax::SyntaxConfig,
    value::{Kwargs, Serde},
};
use serde::{Deserialize, Serialize};

use super::{TextError, Tokenizer, strftime::strftime};

/// Far more than real templates need for thousands of messages.
const MAX_INSTRUCTIONS: u64 = 5_000_000;
/// The longest known templates have some 30 KB.
const MAX_SOURCE_BYTES: usize = 1 << 20;
/// Longer than any context.
const MAX_OUTPUT_BYTES: usize = 64 << 20;
const NAME: &str = "chat template";

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`; templates may know more.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// Message of `role` saying `content`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// Whether the text ends with the beginning of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationPrompt {
    /// Yes: the model is to answer.
    Yes,
    /// No: the conversation as it is.
    No,
}

/// What a template may use.
#[derive(Clone, Debug)]
pub struct ChatInput<'a> {
    /// The conversation.
    pub messages: &'a [Message],
    /// Whether an answer begins.
    pub generation_prompt: GenerationPrompt,
    /// Further variables, such as `enable_thinking`; those above win.
    pub variables: serde_json::Map<String, serde_json::Value>,
    /// Seconds since 1970 for `strftime_now`, in the zone to be shown; now, in UTC, if absent.
    pub now_s: Option<u64>,
}

impl<'a> ChatInput<'a> {
    /// A conversation to be answered.
    pub fn new(messages: &'a [Message]) -> Self {
        Self {
            messages,
            generation_prompt: GenerationPrompt::Yes,
            variables: serde_json::Map::new(),
            now_s: None,
        }
    }
}

/// A model's chat template, parsed.
#[derive(Debug)]
pub struct ChatTemplate {
    env: Environment<'static>,
    origin: String,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Parses `source`, which came from `origin` (a file, named in errors). `bos_token` and
    /// `eos_token` are the texts that templates print under these names.
    ///
    /// # Errors
    /// A syntax error, with its line; a template of more than a mebibyte.
    pub fn new(
        source: &str,
        origin: impl Into<String>,
        bos_token: impl Into<String>,
        eos_token: impl Into<String>,
    ) -> Result<Self, TextError> {
        let origin = origin.into();
        if source.len() > MAX_SOURCE_BYTES {
            let message = format!("{} bytes long, more than {MAX_SOURCE_BYTES}", source.len());
            return Err(TextError::Template { origin, line: None, message });
        }
        let mut env = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        env.set_syntax(syntax.expect("the delimiters are the default ones"));
        env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.set_fuel(Some(MAX_INSTRUCTIONS));
        env.add_filter("tojson", to_json);
        env.add_function("raise_exception", |message: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        let parsed = env.add_template_owned(NAME, without_generation_tags(source));
        parsed.map_err(|error| template_error(&origin, &error))?;
        Ok(Self { env, origin, bos_token: bos_token.into(), eos_token: eos_token.into() })
    }

    /// As [`ChatTemplate::new`], with the tokenizer's own special tokens.
    ///
    /// # Errors
    /// As [`ChatTemplate::new`].
    pub fn for_tokenizer(
        source: &str,
        origin: impl Into<String>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, TextError> {
        let text = |id: Option<u32>| id.and_then(|id| tokenizer.token_text(id)).unwrap_or_default();
        Self::new(source, origin, text(tokenizer.bos()), text(tokenizer.eos()))
    }

    /// The conversation as one text, to be encoded with [`super::AddSpecial::No`] and
    /// [`super::ParseSpecial::Yes`]: the template writes the special tokens.
    ///
    /// Text within messages is not told apart from the template's own, as everywhere else: a
    /// message that spells a control token contains it.
    ///
    /// # Errors
    /// The template refuses the conversation (`raise_exception`), does something wrong, or runs or
    /// writes without end.
    pub fn render(&self, input: &ChatInput) -> Result<String, TextError> {
        let fail = |error: &minijinja::Error| template_error(&self.origin, error);
        let mut env = self.env.clone();
        let now_s = input.now_s.unwrap_or_else(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
        });
        env.add_function("strftime_now", move |format: String| {
            strftime(&format, now_s)
                .map_err(|message| minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        let mut variables = input.variables.clone();
        let mut set =
            |name: &str, value: serde_json::Value| variables.insert(name.to_owned(), value);
        let messages = input
            .messages
            .iter()
            .map(|m| serde_json::json!({"role": m.role, "content": m.content}));
        set("messages", messages.collect());
        set("add_generation_prompt", (input.generation_prompt == GenerationPrompt::Yes).into());
        set("bos_token", self.bos_token.as_str().into());
        set("eos_token", self.eos_token.as_str().into());
        let template = env.get_template(NAME).map_err(|error| fail(&error))?;
        let mut out = Limited(Vec::new());
        template
            .render_captured_to(Value::from(Serde(&variables)), &mut out)
            .map_err(|error| fail(&error))?;
        String::from_utf8(out.0).map_err(|error| TextError::Template {
            origin: self.origin.clone(),
            line: None,
            message: error.to_string(),
        })
    }
}

fn template_error(origin: &str, error: &minijinja::Error) -> TextError {
    let mut message = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => format!("did not end within {MAX_INSTRUCTIONS} instructions"),
        (ErrorKind::InvalidOperation, Some(detail)) => detail.to_owned(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
        (kind, None) => kind.to_string(),
    };
    if let Some(cause) = std::error::Error::source(error) {
        message = format!("{message}: {cause}");
    }
    TextError::Template { origin: origin.to_owned(), line: error.line(), message }
}

/// Output of limited length.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT_BYTES {
            return Err(io::Error::other(format!("the output exceeds {MAX_OUTPUT_BYTES} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `tojson` as `json.dumps(value, ensure_ascii=False, indent=indent)` writes it.
fn to_json(value: Value, kwargs: Kwargs) -> Result<String, minijinja::Error> {
    let fail = |error: serde_json::Error| {
        minijinja::Error::new(ErrorKind::BadSerialization, "cannot write JSON").with_source(error)
    };
    let indent: Option<usize> = kwargs.get("indent")?;
    let mut out = Vec::new();
    let written = match indent {
        Some(width) => {
            let indent = " ".repeat(width.min(64));
            let pretty = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, pretty))
        }
        None => value.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Spaced)),
    };
    written.map_err(fail)?;
    Ok(String::from_utf8(out).expect("serde_json writes UTF-8"))
}

/// One line, with a space after each comma and colon.
struct Spaced;

impl serde_json::ser::Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

/// `{% generation %}` marks what the assistant wrote, for training; `transformers` adds the tag to
/// Jinja, here it becomes a block that is always shown.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let inner = tag.trim_start_matches(['-', '+']).trim_start();
        let lead = tag.len() - inner.len();
        let replaced = [("generation", "if true"), ("endgeneration", "endif")]
            .into_iter()
            .find_map(|(name, with)| {
                let after = inner.strip_prefix(name)?;
                after
                    .trim_start()
                    .trim_start_matches(['-', '+'])
                    .starts_with("%}")
                    .then_some((after, with))
            });
        rest = match replaced {
            Some((after, with)) => {
                out.push_str(&tag[..lead]);
                out.push_str(with);
                after
            }
            None => tag,
        };
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, TextError> {
        let template = ChatTemplate::new(source, "a.gguf", "<s>", "</s>")?;
        template.render(&ChatInput { now_s: Some(1_721_952_000), ..ChatInput::new(messages) })
    }

    fn ok(source: &str) -> String {
        let messages = [Message::new("user", "Hé <b>"), Message::new("assistant", "yes ")];
        render(source, &messages).expect("the template is right")
    }

    #[test]
    fn chatml_with_a_default_system_prompt() {
        let source = "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}\
            {{ '<|im_start|>system\nBe kind<|im_end|>\n' }}{% endif %}\
            {{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}\
            {% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
        assert_eq!(
            render(source, &[Message::new("user", "Hi")]).expect("right"),
            "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        );
        let template = ChatTemplate::new(source, "a.gguf", "", "").expect("right");
        let messages = [Message::new("system", "S")];
        let input =
            ChatInput { generation_prompt: GenerationPrompt::No, ..ChatInput::new(&messages) };
        assert_eq!(template.render(&input).expect("right"), "<|im_start|>system\nS<|im_end|>\n");
    }

    #[test]
    fn blocks_swallow_the_newline_after_and_the_spaces_before() {
        assert_eq!(
            ok("{% if true %}\n  {% if true %}\n  a\n  {% endif %}\n{% endif %}\nb\n"),
            "  a\nb"
        );
    }

    #[test]
    fn python_methods_and_globals_work() {
        assert_eq!(
            ok("{{ bos_token }}{{ messages[1].content.strip() }}{{ eos_token }}"),
            "<s>yes</s>"
        );
        assert_eq!(ok("{{ messages[0]['content'].split(' ')[-1].upper() }}"), "<B>");
        assert_eq!(
            ok("{% for k, v in messages[0].items() %}{{ k }};{% endfor %}"),
            "role;content;"
        );
        assert_eq!(ok("{{ messages[0].get('tools', 'none') }}"), "none");
        assert_eq!(
            ok(
                "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"
            ),
            "2"
        );
        assert_eq!(
            ok("{{ messages[:1] | length }}{% if messages is iterable %}y{% endif %}"),
            "1y"
        );
        assert_eq!(ok("{{ strftime_now('%d %b %Y') }}"), "26 Jul 2024");
    }

    #[test]
    fn json_has_pythons_spacing_and_no_html_escapes() {
        assert_eq!(ok("{{ messages[0] | tojson }}"), r#"{"role": "user", "content": "Hé <b>"}"#);
        assert_eq!(ok("{{ [1, 2.0, none, true] | tojson }}"), "[1, 2.0, null, true]");
        assert_eq!(ok("{{ {'a': [1]} | tojson(indent=2) }}"), "{\n  \"a\": [\n    1\n  ]\n}");
    }

    #[test]
    fn generation_tags_are_transparent() {
        assert_eq!(
            ok("a{%- generation %}b{% endgeneration -%} c{% set generation = 1 %}{{ generation }}"),
            "abc1"
        );
    }

    #[test]
    fn errors_name_template_line_and_cause() {
        let refused =
            render("x\n{{ raise_exception('roles must alternate') }}", &[]).expect_err("raises");
        assert_eq!(refused.to_string(), "chat template of a.gguf, line 2: roles must alternate");
        let syntax = render("x\n\n{% if %}", &[]).expect_err("no condition").to_string();
        assert!(syntax.starts_with("chat template of a.gguf, line 3: syntax error"), "{syntax}");
        let unknown = render("{{ nothing_such() }}", &[]).expect_err("no function").to_string();
        assert!(unknown.contains("nothing_such"), "{unknown}");
    }

    #[test]
    fn hostile_templates_end() {
        let endless =
            "{% for a in range(10000) %}{% for b in range(10000) %}{% endfor %}{% endfor %}";
        let error = render(endless, &[]).expect_err("out of fuel").to_string();
        assert!(error.contains("instructions"), "{error}");
        let wide = "{% set s = 'x' * 1000000 %}{% for a in range(1000) %}{{ s }}{% endfor %}";
        assert!(render(wide, &[]).is_err());
        let deep = "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}";
        assert!(render(deep, &[]).is_err());
        assert!(ChatTemplate::new(&"x".repeat(MAX_SOURCE_BYTES + 1), "a", "", "").is_err());
        assert!(ChatTemplate::new(&"{% if true %}".repeat(20_000), "a", "", "").is_err());
    }
}
