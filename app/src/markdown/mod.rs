//! Markdown as models write it: parsed once a change into plain blocks, drawn with egui widgets.
//!
//! An own small renderer rather than `egui_commonmark`, because answers stream: blocks are data that
//! can be kept for each message, a half-written fence or table must draw sensibly, and every copy
//! button needs a name for screen readers. HTML is shown as text, images as links: a local chat
//! fetches nothing because a model wrote an address.

mod highlight;
mod paint;

use pulldown_cmark::{Alignment, CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

pub use paint::{Cache, blocks_ui};

/// How a run of text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Face {
    /// Bold.
    pub strong: bool,
    /// Italic.
    pub emphasis: bool,
    /// Struck out.
    pub strike: bool,
    /// Code within a line.
    pub code: bool,
}

/// A run of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Text.
    pub text: String,
    /// Look.
    pub face: Face,
    /// Address, for links.
    pub link: Option<String>,
}

/// A block of a document.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Running text.
    Paragraph(Vec<Span>),
    /// A heading of a level from 1 to 6.
    Heading(u8, Vec<Span>),
    /// Code with its language, which may be empty.
    Code {
        /// First word behind the fence.
        language: String,
        /// Lines.
        text: String,
    },
    /// A list; numbered from `first` if there is one.
    List {
        /// First number.
        first: Option<u64>,
        /// Items; a task's state first.
        items: Vec<(Option<bool>, Vec<Block>)>,
    },
    /// A quotation.
    Quote(Vec<Block>),
    /// A table: alignment of the columns, then rows of cells, the head first.
    Table {
        /// One a column.
        columns: Vec<Alignment>,
        /// Head, then body.
        rows: Vec<Vec<Vec<Span>>>,
    },
    /// A line across.
    Rule,
}

/// Blocks of a text; whatever it holds, all of it is in them.
pub fn parse(text: &str) -> Vec<Block> {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut reader =
        Reader { events: Parser::new_ext(text, options), face: Face::default(), link: None };
    reader.blocks(None)
}

struct Reader<'a> {
    events: Parser<'a>,
    face: Face,
    link: Option<String>,
}

impl Reader<'_> {
    /// Blocks up to an end tag, or all.
    fn blocks(&mut self, until: Option<TagEnd>) -> Vec<Block> {
        let mut blocks = Vec::new();
        // Tight lists have text without paragraphs around it.
        let mut loose: Vec<Span> = Vec::new();
        while let Some(event) = self.events.next() {
            if matches!(&event, Event::End(end) if Some(*end) == until) {
                break;
            }
            match event {
                Event::Start(tag) if is_inline(&tag) => self.inline(tag, &mut loose),
                Event::Start(tag) => {
                    flush(&mut loose, &mut blocks);
                    self.block(tag, &mut blocks);
                }
                Event::Rule => {
                    flush(&mut loose, &mut blocks);
                    blocks.push(Block::Rule);
                }
                event => self.text(event, &mut loose),
            }
        }
        flush(&mut loose, &mut blocks);
        blocks
    }

    fn block(&mut self, tag: Tag<'_>, blocks: &mut Vec<Block>) {
        let end = tag.to_end();
        match tag {
            Tag::Paragraph => {
                let spans = self.spans(end);
                blocks.push(Block::Paragraph(spans));
            }
            Tag::Heading { level, .. } => {
                let spans = self.spans(end);
                blocks.push(Block::Heading(level as u8, spans));
            }
            Tag::CodeBlock(kind) => {
                let language = match kind {
                    CodeBlockKind::Fenced(info) => {
                        info.split([' ', ',']).next().unwrap_or_default().to_owned()
                    }
                    CodeBlockKind::Indented => String::new(),
                };
                let text = self.plain(end);
                blocks.push(Block::Code { language, text: text.trim_end_matches('\n').to_owned() });
            }
            Tag::HtmlBlock => {
                let text = self.plain(end);
                let span = Span { text: text.trim_end().to_owned(), face: self.face, link: None };
                blocks.push(Block::Paragraph(vec![span]));
            }
            Tag::List(first) => {
                let items = self.items();
                blocks.push(Block::List { first, items });
            }
            Tag::BlockQuote(_) => {
                let inner = self.blocks(Some(end));
                blocks.push(Block::Quote(inner));
            }
            Tag::Table(columns) => {
                let rows = self.rows(end);
                blocks.push(Block::Table { columns, rows });
            }
            // Whatever else there may be is text.
            _ => blocks.extend(self.blocks(Some(end))),
        }
    }

    fn items(&mut self) -> Vec<(Option<bool>, Vec<Block>)> {
        let mut items = Vec::new();
        while let Some(event) = self.events.next() {
            match event {
                Event::Start(Tag::Item) => {
                    let mut blocks = self.blocks(Some(TagEnd::Item));
                    let task = take_task(&mut blocks);
                    items.push((task, blocks));
                }
                Event::End(TagEnd::List(_)) => break,
                _ => {}
            }
        }
        items
    }

    fn rows(&mut self, end: TagEnd) -> Vec<Vec<Vec<Span>>> {
        let mut rows: Vec<Vec<Vec<Span>>> = Vec::new();
        while let Some(event) = self.events.next() {
            match event {
                Event::Start(Tag::TableHead | Tag::TableRow) => rows.push(Vec::new()),
                Event::Start(Tag::TableCell) => {
                    let cell = self.spans(TagEnd::TableCell);
                    if let Some(row) = rows.last_mut() {
                        row.push(cell);
                    }
                }
                Event::End(this) if this == end => break,
                _ => {}
            }
        }
        rows
    }

    /// Spans up to an end tag.
    fn spans(&mut self, end: TagEnd) -> Vec<Span> {
        let mut spans = Vec::new();
        while let Some(event) = self.events.next() {
            match event {
                Event::End(this) if this == end => break,
                Event::Start(tag) => self.inline(tag, &mut spans),
                event => self.text(event, &mut spans),
            }
        }
        spans
    }

    fn inline(&mut self, tag: Tag<'_>, spans: &mut Vec<Span>) {
        let (face, link) = (self.face, self.link.clone());
        let end = tag.to_end();
        match tag {
            Tag::Strong => self.face.strong = true,
            Tag::Emphasis => self.face.emphasis = true,
            Tag::Strikethrough => self.face.strike = true,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.link = Some(dest_url.into_string());
            }
            _ => {}
        }
        let inner = self.spans(end);
        spans.extend(inner);
        (self.face, self.link) = (face, link);
    }

    fn text(&mut self, event: Event<'_>, spans: &mut Vec<Span>) {
        let mut face = self.face;
        let text = match event {
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => text.into_string(),
            Event::Code(text) => {
                face.code = true;
                text.into_string()
            }
            Event::SoftBreak => " ".into(),
            Event::HardBreak => "\n".into(),
            Event::TaskListMarker(done) => if done { TASK_DONE } else { TASK_OPEN }.into(),
            _ => return,
        };
        match spans.last_mut() {
            Some(last) if last.face == face && last.link == self.link => last.text.push_str(&text),
            _ => spans.push(Span { text, face, link: self.link.clone() }),
        }
    }

    /// Text up to an end tag, as it is.
    fn plain(&mut self, end: TagEnd) -> String {
        let mut text = String::new();
        for event in self.events.by_ref() {
            match event {
                Event::End(this) if this == end => break,
                Event::Text(part) | Event::Html(part) => text.push_str(&part),
                _ => {}
            }
        }
        text
    }
}

const TASK_DONE: &str = "\u{1}x";
const TASK_OPEN: &str = "\u{1}o";

/// State of the task that an item begins with.
fn take_task(blocks: &mut [Block]) -> Option<bool> {
    let Some(Block::Paragraph(spans)) = blocks.first_mut() else { return None };
    let first = spans.first_mut()?;
    let (rest, done) = match first.text.strip_prefix(TASK_DONE) {
        Some(rest) => (rest.to_owned(), true),
        None => (first.text.strip_prefix(TASK_OPEN)?.to_owned(), false),
    };
    first.text = rest;
    Some(done)
}

fn is_inline(tag: &Tag<'_>) -> bool {
    matches!(
        tag,
        Tag::Strong | Tag::Emphasis | Tag::Strikethrough | Tag::Link { .. } | Tag::Image { .. }
    )
}

fn flush(spans: &mut Vec<Span>, blocks: &mut Vec<Block>) {
    if !spans.is_empty() {
        blocks.push(Block::Paragraph(std::mem::take(spans)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks as an outline, one a line.
    fn outline(blocks: &[Block], depth: usize) -> String {
        let pad = "  ".repeat(depth);
        let spans = |spans: &[Span]| -> String {
            let span = |span: &Span| {
                let mut text = span.text.replace('\n', "⏎");
                for (is, mark) in [
                    (span.face.code, "`"),
                    (span.face.strong, "**"),
                    (span.face.emphasis, "_"),
                    (span.face.strike, "~"),
                ] {
                    if is {
                        text = format!("{mark}{text}{mark}");
                    }
                }
                match &span.link {
                    Some(link) => format!("[{text}]({link})"),
                    None => text,
                }
            };
            spans.iter().map(span).collect()
        };
        let mut text = String::new();
        for block in blocks {
            text += &match block {
                Block::Paragraph(s) => format!("{pad}p {}\n", spans(s)),
                Block::Heading(level, s) => format!("{pad}h{level} {}\n", spans(s)),
                Block::Code { language, text } => format!("{pad}code {language}: {text:?}\n"),
                Block::Rule => format!("{pad}rule\n"),
                Block::Quote(inner) => format!("{pad}quote\n{}", outline(inner, depth + 1)),
                Block::List { first, items } => {
                    let items: String = items
                        .iter()
                        .map(|(task, inner)| {
                            format!("{pad}- {task:?}\n{}", outline(inner, depth + 1))
                        })
                        .collect();
                    format!("{pad}list {first:?}\n{items}")
                }
                Block::Table { rows, .. } => {
                    let row = |row: &Vec<Vec<Span>>| {
                        row.iter().map(|cell| spans(cell)).collect::<Vec<_>>().join(" | ")
                    };
                    let rows: String =
                        rows.iter().map(|r| format!("{pad}| {}\n", row(r))).collect();
                    format!("{pad}table\n{rows}")
                }
            };
        }
        text
    }

    #[test]
    fn documents_become_blocks() {
        let text = "# Title\nSome **bold _both_** and `code`, [a link](https://x.org).\n\n\
            1. one\n2. two\n   - [x] done\n   - [ ] open\n\n> quoted\n\n```rust\nfn main() {}\n```\n\n\
            | a | b |\n|---|--:|\n| 1 | ~~2~~ |\n\n---\n<b>raw</b>";
        insta::assert_snapshot!(outline(&parse(text), 0), @r#"
        h1 Title
        p Some **bold **_**both**_ and `code`, [a link](https://x.org).
        list Some(1)
        - None
          p one
        - None
          p two
          list None
          - Some(true)
            p done
          - Some(false)
            p open
        quote
          p quoted
        code rust: "fn main() {}"
        table
        | a | b
        | 1 | ~2~
        rule
        p <b>raw</b>
        "#);
    }

    #[test]
    fn every_beginning_of_an_answer_can_be_drawn() {
        let text =
            "Sure:\n\n```python\nprint('x')\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n- **x";
        for end in 0..=text.len() {
            let blocks = parse(&text[..end]);
            assert!(end == 0 || !blocks.is_empty(), "nothing of {:?}", &text[..end]);
        }
        let open = parse("```python\nprint('x')");
        let code = Block::Code { language: "python".into(), text: "print('x')".into() };
        assert_eq!(open, [code]);
    }
}
