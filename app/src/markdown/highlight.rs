//! Colours of code: one small lexer for the languages that models write most.
//!
//! A lexer rather than grammars: it knows comments, strings, numbers, keywords and names, starts in a
//! microsecond, and draws half-written code without a flicker, which grammars in a regex engine
//! (13 MB of them) do not.

use egui::{Color32, FontId, TextFormat, text::LayoutJob};

use crate::tokens::Palette;

/// What a language looks like.
struct Syntax {
    names: &'static [&'static str],
    line_comments: &'static [&'static str],
    block_comment: Option<(&'static str, &'static str)>,
    quotes: &'static [char],
    keywords: &'static [&'static str],
}

const C_BLOCK: Option<(&str, &str)> = Some(("/*", "*/"));

const LANGUAGES: &[Syntax] = &[
    Syntax {
        names: &["rust", "rs"],
        line_comments: &["//"],
        block_comment: C_BLOCK,
        quotes: &['"'],
        keywords: &[
            "as", "async", "await", "break", "const", "continue", "crate", "dyn", "else", "enum",
            "extern", "false", "fn", "for", "if", "impl", "in", "let", "loop", "match", "mod",
            "move", "mut", "pub", "ref", "return", "self", "Self", "static", "struct", "super",
            "trait", "true", "type", "unsafe", "use", "where", "while",
        ],
    },
    Syntax {
        names: &["python", "py", "python3"],
        line_comments: &["#"],
        block_comment: None,
        quotes: &['"', '\''],
        keywords: &[
            "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
            "elif", "else", "except", "False", "finally", "for", "from", "global", "if", "import",
            "in", "is", "lambda", "None", "nonlocal", "not", "or", "pass", "raise", "return",
            "True", "try", "while", "with", "yield", "self",
        ],
    },
    Syntax {
        names: &["javascript", "js", "typescript", "ts", "jsx", "tsx", "json"],
        line_comments: &["//"],
        block_comment: C_BLOCK,
        quotes: &['"', '\'', '`'],
        keywords: &[
            "async",
            "await",
            "break",
            "case",
            "catch",
            "class",
            "const",
            "continue",
            "default",
            "delete",
            "do",
            "else",
            "export",
            "extends",
            "false",
            "finally",
            "for",
            "function",
            "if",
            "import",
            "in",
            "instanceof",
            "interface",
            "let",
            "new",
            "null",
            "of",
            "return",
            "static",
            "super",
            "switch",
            "this",
            "throw",
            "true",
            "try",
            "type",
            "typeof",
            "undefined",
            "var",
            "void",
            "while",
            "yield",
        ],
    },
    Syntax {
        names: &[
            "c", "cpp", "c++", "h", "hpp", "cuda", "java", "kotlin", "swift", "csharp", "cs", "go",
            "wgsl", "glsl", "hlsl", "php", "scala", "dart",
        ],
        line_comments: &["//"],
        block_comment: C_BLOCK,
        quotes: &['"', '\''],
        keywords: &[
            "auto",
            "bool",
            "break",
            "case",
            "catch",
            "char",
            "class",
            "const",
            "continue",
            "default",
            "defer",
            "delete",
            "do",
            "double",
            "else",
            "enum",
            "extends",
            "extern",
            "false",
            "final",
            "float",
            "fn",
            "for",
            "foreach",
            "fun",
            "func",
            "go",
            "goto",
            "if",
            "implements",
            "import",
            "include",
            "int",
            "interface",
            "let",
            "long",
            "map",
            "namespace",
            "new",
            "nil",
            "null",
            "nullptr",
            "package",
            "private",
            "protected",
            "public",
            "range",
            "return",
            "short",
            "signed",
            "sizeof",
            "static",
            "string",
            "struct",
            "super",
            "switch",
            "template",
            "this",
            "throw",
            "true",
            "try",
            "type",
            "typedef",
            "union",
            "unsigned",
            "using",
            "val",
            "var",
            "virtual",
            "void",
            "while",
        ],
    },
    Syntax {
        names: &["bash", "sh", "shell", "zsh", "console", "make", "dockerfile"],
        line_comments: &["#"],
        block_comment: None,
        quotes: &['"', '\''],
        keywords: &[
            "case", "do", "done", "elif", "else", "esac", "export", "fi", "for", "function", "if",
            "in", "local", "return", "set", "then", "until", "while", "echo", "cd", "sudo",
        ],
    },
    Syntax {
        names: &["sql"],
        line_comments: &["--"],
        block_comment: C_BLOCK,
        quotes: &['\'', '"'],
        keywords: &[
            "select", "from", "where", "insert", "into", "values", "update", "set", "delete",
            "create", "table", "index", "join", "left", "right", "inner", "outer", "on", "group",
            "by", "order", "having", "limit", "as", "and", "or", "not", "null", "is", "in", "like",
            "SELECT", "FROM", "WHERE", "INSERT", "INTO", "VALUES", "UPDATE", "SET", "DELETE",
            "CREATE", "TABLE", "INDEX", "JOIN", "LEFT", "RIGHT", "INNER", "OUTER", "ON", "GROUP",
            "BY", "ORDER", "HAVING", "LIMIT", "AS", "AND", "OR", "NOT", "NULL", "IS", "IN", "LIKE",
        ],
    },
    Syntax {
        names: &["toml", "yaml", "yml", "ini", "r", "ruby", "rb", "perl", "elixir"],
        line_comments: &["#"],
        block_comment: None,
        quotes: &['"', '\''],
        keywords: &[
            "true", "false", "null", "def", "end", "do", "if", "else", "elsif", "unless", "while",
            "class", "module", "function", "return", "for", "in", "nil", "my", "sub", "use",
        ],
    },
    Syntax {
        names: &["html", "xml", "svg"],
        line_comments: &[],
        block_comment: Some(("<!--", "-->")),
        quotes: &['"'],
        keywords: &[],
    },
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Keyword,
    String,
    Number,
    Comment,
    Name,
}

/// Code laid out with colours; that of unknown languages in one.
pub(super) fn highlight(code: &str, language: &str, font: &FontId, palette: &Palette) -> LayoutJob {
    let mut job = LayoutJob::default();
    let mut append = |text: &str, kind: Kind| {
        let color: Color32 = match kind {
            Kind::Plain => palette.text,
            Kind::Keyword => palette.keyword,
            Kind::String => palette.string,
            Kind::Number => palette.number,
            Kind::Comment => palette.comment,
            Kind::Name => palette.name,
        };
        job.append(text, 0.0, TextFormat::simple(font.clone(), color));
    };
    let wanted = language.to_ascii_lowercase();
    match LANGUAGES.iter().find(|syntax| syntax.names.contains(&wanted.as_str())) {
        Some(syntax) => lex(code, syntax, &mut append),
        None => append(code, Kind::Plain),
    }
    job
}

fn lex(code: &str, syntax: &Syntax, append: &mut dyn FnMut(&str, Kind)) {
    let mut rest = code;
    let mut plain = 0;
    while let Some(first) = rest[plain..].chars().next() {
        let here = &rest[plain..];
        let (length, kind) = token(here, first, syntax);
        if kind == Kind::Plain {
            plain += length;
            continue;
        }
        if plain > 0 {
            append(&rest[..plain], Kind::Plain);
        }
        append(&here[..length], kind);
        rest = &here[length..];
        plain = 0;
    }
    if plain > 0 {
        append(rest, Kind::Plain);
    }
}

/// Bytes and kind of the token that a text begins with.
fn token(text: &str, first: char, syntax: &Syntax) -> (usize, Kind) {
    if syntax.line_comments.iter().any(|mark| text.starts_with(mark)) {
        return (text.find('\n').unwrap_or(text.len()), Kind::Comment);
    }
    if let Some((open, close)) = syntax.block_comment
        && let Some(inner) = text.strip_prefix(open)
    {
        let length = inner.find(close).map_or(text.len(), |at| open.len() + at + close.len());
        return (length, Kind::Comment);
    }
    if syntax.quotes.contains(&first) {
        return (string(text, first), Kind::String);
    }
    if first.is_ascii_digit() {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_'));
        return (end.unwrap_or(text.len()), Kind::Number);
    }
    if first.is_alphabetic() || first == '_' {
        let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
        let word = &text[..end];
        let kind = if syntax.keywords.contains(&word) {
            Kind::Keyword
        } else if text[end..].starts_with('(') || text[end..].starts_with("!(") {
            Kind::Name
        } else {
            Kind::Plain
        };
        return (end, kind);
    }
    (first.len_utf8(), Kind::Plain)
}

/// Bytes of a string with its quotes; one that is not closed ends with its line, or with the text
/// for quotes that may span lines.
fn string(text: &str, quote: char) -> usize {
    let triple: String = [quote; 3].iter().collect();
    if let Some(inner) = text.strip_prefix(&triple) {
        return inner.find(&triple).map_or(text.len(), |at| at + 6);
    }
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\n' if quote != '`' => return at,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::DARK;

    fn parts(code: &str, language: &str) -> Vec<(String, Kind)> {
        let syntax = LANGUAGES.iter().find(|s| s.names.contains(&language)).expect(language);
        let mut parts = Vec::new();
        lex(code, syntax, &mut |text, kind| parts.push((text.to_owned(), kind)));
        parts
    }

    fn kinds(code: &str, language: &str) -> Vec<(String, Kind)> {
        parts(code, language).into_iter().filter(|(_, kind)| *kind != Kind::Plain).collect()
    }

    #[test]
    fn tokens_have_their_kinds() {
        let of = |list: &[(&str, Kind)]| -> Vec<(String, Kind)> {
            list.iter().map(|(text, kind)| ((*text).to_owned(), *kind)).collect()
        };
        assert_eq!(
            kinds("let n = foo(0x1F); // \"no\"\n'a", "rust"),
            of(&[
                ("let", Kind::Keyword),
                ("foo", Kind::Name),
                ("0x1F", Kind::Number),
                ("// \"no\"", Kind::Comment)
            ])
        );
        assert_eq!(
            kinds("x = '''a\n'b''' # c", "python"),
            of(&[("'''a\n'b'''", Kind::String), ("# c", Kind::Comment)])
        );
        assert_eq!(
            kinds(r#""a\"b" "open"#, "c"),
            of(&[(r#""a\"b""#, Kind::String), ("\"open", Kind::String)])
        );
    }

    #[test]
    fn no_text_is_lost_or_doubled() {
        let code = "fn f() { /* ü \n */ \"ä\\\" 漢\" 1.5e3 }\n'x' `t\n` \"\"\"a";
        for syntax in LANGUAGES {
            for end in (0..=code.len()).filter(|&end| code.is_char_boundary(end)) {
                let text: String = parts(&code[..end], syntax.names[0])
                    .into_iter()
                    .map(|(text, _)| text)
                    .collect();
                assert_eq!(text, code[..end], "{}", syntax.names[0]);
            }
        }
        let job = highlight(code, "brainfuck", &FontId::monospace(12.0), &DARK);
        assert_eq!(job.text, code);
    }
}
