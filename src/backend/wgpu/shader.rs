//! The preprocessor of our WGSL: textual `#import`, `#define`, `#ifdef`, `#ifndef`, `#else`, `#endif`.
//!
//! Nothing more: expressions belong into Rust, numbers into `override` constants. Own code because a
//! module system (naga_oil) mangles names in errors, templates make files that are not WGSL, and WGSL
//! cannot pass a pointer to storage, so shared helpers must name their binding: text is the right unit.
//! A line map takes a compiler's message back to the file and line that a person wrote.

use std::{borrow::Cow, collections::BTreeMap, fmt::Write as _, path::PathBuf};

use crate::backend::{BackendError, BackendResult};

macro_rules! embedded {
    ($($path:literal,)*) => {
        /// All shader files by their path under `shaders/`, without the extension.
        pub const FILES: &[(&str, &str)] = &[$(
            ($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $path, ".wgsl"))),
        )*];
    };
}

embedded! {
    "adamw",
    "add",
    "add_rms_norm",
    "build_tree",
    "column_sums",
    "copy",
    "embed",
    "fill",
    "gate_grad",
    "gate_mul",
    "gather_rows",
    "grow_tree",
    "head_rms_norm",
    "kv_commit",
    "kv_write",
    "mat_mul",
    "qmatmul",
    "rms_norm",
    "rms_norm_grad",
    "rope",
    "row_squares",
    "row_stats",
    "silu_add",
    "silu_grad",
    "softmax_grad",
    "softmax_kl",
    "softmax_xent",
    "span_softmax",
    "top_k",
    "tree_attention",
    "verify_tree",
    "shared/attention_broadcast",
    "shared/attention_workgroup",
    "shared/best",
    "shared/grid",
    "shared/half",
    "shared/kv_f16",
    "shared/kv_f32",
    "shared/kv_q8_0",
    "shared/kv_wide_f16",
    "shared/kv_wide_f32",
    "shared/kv_wide_q8_0",
    "shared/math",
    "shared/noise",
    "shared/params",
    "shared/quant",
    "shared/quant_bf16",
    "shared/quant_crumbs",
    "shared/quant_f16",
    "shared/quant_f32",
    "shared/quant_fifth_bits",
    "shared/quant_nibbles",
    "shared/quant_q2_k",
    "shared/quant_q3_k",
    "shared/quant_q4_0",
    "shared/quant_q4_1",
    "shared/quant_q4_k",
    "shared/quant_q5_0",
    "shared/quant_q5_1",
    "shared/quant_q5_k",
    "shared/quant_q6_k",
    "shared/quant_q8_0",
    "shared/quant_scale_f16",
    "shared/quant_scale_min",
    "shared/quant_scale_super_min",
    "shared/quant_scale_super_signed",
    "shared/reduce",
    "shared/softmax_sums",
}

/// Names defined for a variant, with their replacement text (empty for mere flags).
pub type Defines = BTreeMap<String, String>;

/// A storage binding declared by a shader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Number within group 0.
    pub index: u32,
    /// Name, the same as the operand's.
    pub name: String,
    /// Declared `read` rather than `read_write`.
    pub read_only: bool,
}

/// A shader ready for the compiler.
#[derive(Clone, Debug)]
pub struct Expanded {
    /// WGSL.
    pub text: String,
    /// File and line that each line of `text` came from.
    pub lines: Vec<(&'static str, u32)>,
    /// Storage bindings of group 0.
    pub bindings: Vec<Binding>,
}

/// A change to the text of a file, with which tests prove that the op table notices a wrong kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mutation {
    /// Path under `shaders/`, without the extension.
    pub file: String,
    /// Text within a line.
    pub from: String,
    /// What stands there instead.
    pub to: String,
}

impl Expanded {
    /// Makes the change in every line of its file; gives in how many.
    pub(super) fn mutate(&mut self, mutation: &Mutation) -> usize {
        let mut changed = 0;
        let lines = self.text.lines().zip(&self.lines).map(|(line, (file, _))| {
            if *file == mutation.file && line.contains(&mutation.from) {
                changed += 1;
                Cow::from(line.replace(&mutation.from, &mutation.to))
            } else {
                Cow::from(line)
            }
        });
        self.text = lines.map(|line| format!("{line}\n")).collect();
        changed
    }

    /// Our file and line behind line `line` (from 1) of the text.
    pub fn origin(&self, line: u32) -> (&'static str, u32) {
        let last = self.lines.len().saturating_sub(1);
        self.lines.get((line.max(1) as usize - 1).min(last)).copied().unwrap_or(("", 0))
    }

    /// Writes the text to `$COPPICE_DUMP_SHADERS/<name>.wgsl` under a header with its key, if that
    /// variable is set; gives the path.
    pub fn dump(&self, name: &str, key: &str, adapter: &str) -> Option<PathBuf> {
        let dir = PathBuf::from(std::env::var_os("COPPICE_DUMP_SHADERS")?);
        let file: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let path = dir.join(format!("{file}.wgsl"));
        let mut text = format!("// {key}\n// {adapter}\n");
        let mut from = "";
        for (line, (file, number)) in self.text.lines().zip(&self.lines) {
            if *file != from {
                let _ = writeln!(text, "// --- {file}.wgsl:{number}");
                from = file;
            }
            let _ = writeln!(text, "{line}");
        }
        match std::fs::create_dir_all(&dir).and_then(|()| std::fs::write(&path, text)) {
            Ok(()) => Some(path),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot dump a shader");
                None
            }
        }
    }
}

/// Expands `shaders/<name>.wgsl` with the given defines. Fails with [`BackendError::Shader`] on an
/// unknown file or directive, an unbalanced conditional or a malformed binding.
pub fn expand(name: &str, defines: &Defines) -> BackendResult<Expanded> {
    let mut state = State {
        defines: defines.clone(),
        imported: Vec::new(),
        out: Expanded { text: String::new(), lines: Vec::new(), bindings: Vec::new() },
    };
    state.file(name).map_err(|(file, line, message)| BackendError::Shader {
        file: format!("{file}.wgsl"),
        line,
        message,
        dump: None,
    })?;
    Ok(state.out)
}

/// The text of a file. Debug builds read it from the source tree where that exists, so that a changed
/// shader needs no build.
fn current(name: &str, embedded: &'static str) -> Cow<'static, str> {
    if cfg!(debug_assertions) {
        let path = format!("{}/shaders/{name}.wgsl", env!("CARGO_MANIFEST_DIR"));
        if let Ok(text) = std::fs::read_to_string(path) {
            return text.into();
        }
    }
    embedded.into()
}

type Failure = (String, u32, String);

struct State {
    defines: Defines,
    imported: Vec<&'static str>,
    out: Expanded,
}

impl State {
    fn file(&mut self, name: &str) -> Result<(), Failure> {
        let Some((name, embedded)) = FILES.iter().find(|(path, _)| *path == name).copied() else {
            return Err((name.into(), 0, "no such file in shaders/".into()));
        };
        let text = current(name, embedded);
        if self.imported.contains(&name) {
            return Ok(());
        }
        self.imported.push(name);
        // One entry per open conditional: whether its lines are taken.
        let mut open: Vec<bool> = Vec::new();
        for (number, line) in (1u32..).zip(text.lines()) {
            let fail = |message: String| (name.to_string(), number, message);
            let taken = open.iter().all(|t| *t);
            let trimmed = line.trim_start();
            if !trimmed.starts_with('#') {
                if taken {
                    self.line(name, number, line).map_err(fail)?;
                }
                continue;
            }
            let mut words = trimmed.splitn(3, ' ');
            let directive = words.next().unwrap_or("");
            let argument = words.next().unwrap_or("").trim();
            match directive {
                "#ifdef" => open.push(self.defines.contains_key(argument)),
                "#ifndef" => open.push(!self.defines.contains_key(argument)),
                "#else" => match open.last_mut() {
                    Some(t) => *t = !*t,
                    None => return Err(fail("#else without #ifdef".into())),
                },
                "#endif" => {
                    if open.pop().is_none() {
                        return Err(fail("#endif without #ifdef".into()));
                    }
                }
                "#define" if taken => {
                    let value = words.next().unwrap_or("").trim();
                    self.defines.insert(argument.into(), value.into());
                }
                "#import" if taken => self.file(argument)?,
                "#define" | "#import" => {}
                other => return Err(fail(format!("unknown directive {other}"))),
            }
        }
        if open.is_empty() {
            Ok(())
        } else {
            let end = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
            Err((name.into(), end, format!("{} #ifdef without #endif", open.len())))
        }
    }

    fn line(&mut self, file: &'static str, number: u32, line: &str) -> Result<(), String> {
        let line = self.replace(line);
        if line.starts_with("@group(0)") {
            self.out.bindings.push(parse_binding(&line)?);
        }
        self.out.text.push_str(&line);
        self.out.text.push('\n');
        self.out.lines.push((file, number));
        Ok(())
    }

    /// Replaces defined names that stand as whole words; comments stay.
    fn replace(&self, line: &str) -> String {
        let (code, comment) = line.split_at(line.find("//").unwrap_or(line.len()));
        let mut out = String::with_capacity(line.len());
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut rest = code;
        while let Some(start) = rest.find(is_word) {
            out.push_str(&rest[..start]);
            let word = &rest[start..];
            let len = word.find(|c| !is_word(c)).unwrap_or(word.len());
            let (word, after) = word.split_at(len);
            match self.defines.get(word) {
                Some(value) if !value.is_empty() => out.push_str(value),
                _ => out.push_str(word),
            }
            rest = after;
        }
        out.push_str(rest);
        out.push_str(comment);
        out
    }
}

/// Reads `@group(0) @binding(3) var<storage, read_write> name: type;`.
fn parse_binding(line: &str) -> Result<Binding, String> {
    let parse = || {
        let (_, rest) = line.split_once("@binding(")?;
        let (index, rest) = rest.split_once(')')?;
        let (_, rest) = rest.split_once("var<storage, ")?;
        let (access, rest) = rest.split_once('>')?;
        let (name, _) = rest.split_once(':')?;
        Some((index.parse().ok()?, name.trim().to_string(), access.trim().to_string()))
    };
    let form = "@group(0) @binding(N) var<storage, read|read_write> name: type;";
    let (index, name, access) =
        parse().ok_or_else(|| format!("a binding is not of the form {form}"))?;
    match access.as_str() {
        "read" => Ok(Binding { index, name, read_only: true }),
        "read_write" => Ok(Binding { index, name, read_only: false }),
        other => Err(format!("binding `{name}` has access `{other}`, wanted read or read_write")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defines(names: &[(&str, &str)]) -> Defines {
        names.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect()
    }

    #[test]
    fn words_are_replaced_whole_and_outside_comments() {
        let state = State {
            defines: defines(&[("N", "4u"), ("FLAG", "")]),
            imported: Vec::new(),
            out: Expanded { text: String::new(), lines: Vec::new(), bindings: Vec::new() },
        };
        assert_eq!(state.replace("let a_N = N * FLAG; // N"), "let a_N = 4u * FLAG; // N");
    }

    #[test]
    fn the_line_map_points_into_imported_files() {
        let access = defines(&[("SRC_ACCESS", "read"), ("DST_ACCESS", "read_write")]);
        let out = expand("copy", &access).expect("copy expands");
        assert_eq!(out.text.lines().count(), out.lines.len());
        let at = out.text.lines().position(|l| l.starts_with("fn group_index")).expect("imported");
        let (file, line) = out.origin(at as u32 + 1);
        assert_eq!(file, "shared/grid");
        let original = FILES.iter().find(|(p, _)| *p == file).expect("listed").1;
        assert!(
            original.lines().nth(line as usize - 1).expect("line").starts_with("fn group_index")
        );
    }

    #[test]
    fn bindings_are_read_from_the_text() {
        let access = defines(&[("SRC_ACCESS", "read"), ("DST_ACCESS", "read_write")]);
        let out = expand("copy", &access).expect("copy expands");
        let dst = Binding { index: 1, name: "dst".into(), read_only: false };
        assert_eq!(out.bindings[1], dst);
        assert!(out.bindings[0].read_only);
    }

    #[test]
    fn a_missing_access_names_file_and_line() {
        let error = expand("copy", &Defines::new()).expect_err("SRC_ACCESS is not defined");
        let BackendError::Shader { file, line, message, .. } = error else { panic!("{error}") };
        assert_eq!(file, "copy.wgsl");
        let text = FILES.iter().find(|(p, _)| *p == "copy").expect("listed").1;
        assert!(text.lines().nth(line as usize - 1).expect("line").contains("SRC_ACCESS"));
        assert!(message.contains("SRC_ACCESS"), "{message}");
    }

    #[test]
    fn unknown_files_are_errors() {
        assert!(matches!(expand("nothing", &Defines::new()), Err(BackendError::Shader { .. })));
    }
}
