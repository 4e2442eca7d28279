//! Widths of texts without a font, and texts that fit.

/// Width of a character in ems of a sans-serif font, on the wide side.
fn sans_em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' | ' ' => 0.34,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '/' | '-' => 0.44,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.98,
        'A'..='Z' => 0.74,
        c if is_wide(c) => 1.05,
        _ => 0.62,
    }
}

/// Characters that take two cells of a monospaced font: East Asian scripts and pictures.
fn is_wide(c: char) -> bool {
    matches!(c as u32,
        0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f | 0xff00..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd)
}

/// Width in pixels of a sans-serif text.
pub(super) fn sans(text: &str, size: f64) -> f64 {
    text.chars().map(sans_em).sum::<f64>() * size
}

/// Width in pixels of a bold sans-serif text.
pub(super) fn bold(text: &str, size: f64) -> f64 {
    1.15 * sans(text, size)
}

/// Width in pixels of a monospaced text.
pub(super) fn mono(text: &str, size: f64) -> f64 {
    text.chars().map(|c| if is_wide(c) { 1.25 } else { 0.62 }).sum::<f64>() * size
}

/// The text, or its beginning and an ellipsis, in at most `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(most.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// A token so that one sees it all: spaces, line ends and control characters have signs.
pub(super) fn visible(token: &str) -> String {
    if token.is_empty() {
        return "(none)".into();
    }
    let mut text = String::new();
    for c in token.chars() {
        match c {
            ' ' => text.push('␣'),
            '\n' => text.push('↵'),
            '\t' => text.push('⇥'),
            c if c.is_control() || is_direction(c) => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
}

/// Marks that turn the direction of the text around them, or that nobody sees.
fn is_direction(c: char) -> bool {
    matches!(c as u32, 0x200b..=0x200f | 0x2028..=0x202e | 0x2066..=0x2069 | 0xfeff)
}

/// Lines of words, each at most `width` pixels of a sans-serif font; a word longer than a line has
/// one of its own.
pub(super) fn wrapped(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if sans(line, size) + sans(word, size) + 0.34 * size <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
