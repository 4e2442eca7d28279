//! Elements of SVG as text.

use std::fmt::{Display, Write as _};

use super::{MONO, PAPER, SANS};

/// Text for content and attributes; characters that XML forbids become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// A number with at most two decimals.
pub(super) fn n(x: f64) -> String {
    let text = format!("{x:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.to_owned() }
}

/// Family of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Face {
    Sans,
    Mono,
}

/// Which point of a text its position is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// Looks of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct TextStyle {
    pub(super) face: Face,
    pub(super) size: f64,
    pub(super) fill: &'static str,
    pub(super) anchor: Anchor,
    pub(super) bold: bool,
    pub(super) strike: bool,
}

impl TextStyle {
    pub(super) fn new(size: f64, fill: &'static str) -> Self {
        let (face, anchor) = (Face::Sans, Anchor::Start);
        Self { face, size, fill, anchor, bold: false, strike: false }
    }

    pub(super) fn mono(self) -> Self {
        Self { face: Face::Mono, ..self }
    }

    pub(super) fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    pub(super) fn at(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

/// A drawing under construction.
pub(super) struct Svg {
    body: String,
}

impl Svg {
    pub(super) fn new() -> Self {
        Self { body: String::new() }
    }

    /// An element without content; values are escaped.
    pub(super) fn element(&mut self, name: &str, attributes: &[(&str, &dyn Display)]) {
        self.open(name, attributes);
        // `open` ended the tag with `>` and a line end.
        self.body.truncate(self.body.len() - 2);
        self.body.push_str("/>\n");
    }

    /// Begins an element; [`Svg::close`] ends it.
    pub(super) fn open(&mut self, name: &str, attributes: &[(&str, &dyn Display)]) {
        self.body.push('<');
        self.body.push_str(name);
        for (key, value) in attributes {
            let value = escape(&value.to_string());
            write!(self.body, " {key}=\"{value}\"").expect("a string takes all");
        }
        self.body.push_str(">\n");
    }

    pub(super) fn close(&mut self, name: &str) {
        self.body.push_str(&format!("</{name}>\n"));
    }

    /// What a viewer shows for the element around it.
    pub(super) fn title(&mut self, text: &str) {
        self.body.push_str(&format!("<title>{}</title>\n", escape(text)));
    }

    pub(super) fn text(&mut self, (x, y): (f64, f64), text: &str, style: TextStyle) {
        let family = match style.face {
            Face::Sans => SANS,
            Face::Mono => MONO,
        };
        let anchor = match style.anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let weight = if style.bold { " font-weight=\"600\"" } else { "" };
        let strike = if style.strike { " text-decoration=\"line-through\"" } else { "" };
        self.body.push_str(&format!(
            "<text x=\"{}\" y=\"{}\" font-family=\"{}\" font-size=\"{}\" fill=\"{}\"{anchor}{weight}{strike} \
             xml:space=\"preserve\">{}</text>\n",
            n(x),
            n(y),
            escape(family),
            n(style.size),
            style.fill,
            escape(text)
        ));
    }

    /// The document.
    pub(super) fn finish(self, width: f64, height: f64, name: &str) -> String {
        let (w, h) = (n(width.ceil()), n(height.ceil()));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" \
             viewBox=\"0 0 {w} {h}\" role=\"img\">\n<title>{}</title>\n\
             <rect width=\"{w}\" height=\"{h}\" fill=\"{PAPER}\"/>\n{}</svg>\n",
            escape(name),
            self.body
        )
    }
}
