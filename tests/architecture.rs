//! Keeps the arrows between modules: who may use whom.

use std::{collections::BTreeSet, fs, path::Path};

/// Module, and the modules it may name after `crate::`. What is not listed is an error here, so a
/// new arrow is a decision and not an accident.
const ARROWS: &[(&str, &[&str])] = &[
    ("dtype", &[]),
    ("shape", &[]),
    ("error", &["backend", "format", "hub", "kv", "spec", "text"]),
    ("quant", &["error"]),
    ("format", &["error", "dtype", "shape", "quant", "model"]),
    ("hub", &["error"]),
    ("text", &["error", "format"]),
    ("sample", &["error"]),
    ("ops", &["backend", "dtype", "quant", "error"]),
    ("record", &["ops", "backend", "error"]),
    ("backend", &["ops", "record", "sample", "quant", "dtype", "shape", "error"]),
    ("kv", &["ops", "backend", "dtype", "shape", "quant", "error"]),
    (
        "model",
        &["record", "ops", "backend", "kv", "spec", "format", "quant", "dtype", "shape", "error"],
    ),
    ("spec", &["model", "sample", "kv", "ops", "format", "error"]),
    (
        "engine",
        &["spec", "model", "kv", "sample", "text", "format", "backend", "ops", "quant", "error"],
    ),
    (
        "train",
        &[
            "engine", "model", "record", "ops", "backend", "kv", "sample", "text", "format",
            "quant", "dtype", "error",
        ],
    ),
    ("draw", &["spec"]),
    (
        "check",
        &[
            "engine", "spec", "model", "kv", "format", "draw", "record", "backend", "ops",
            "sample", "quant", "dtype", "shape", "error",
        ],
    ),
    (
        "cli",
        &[
            "engine", "train", "hub", "check", "draw", "spec", "sample", "text", "format", "model",
            "ops", "quant", "backend", "error",
        ],
    ),
];

/// Names after `crate::` in a source file, outside comments.
fn uses(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().map(|line| line.split("//").next().unwrap_or_default()) {
        for rest in line.split("crate::").skip(1) {
            found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    // `use crate::{a::x, b}`, possibly over several lines
    for rest in text.split("use crate::{").skip(1) {
        let (mut depth, mut name, mut fresh) = (0, String::new(), true);
        for c in rest.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                c if depth == 0 && fresh && (c.is_alphanumeric() || c == '_') => name.push(c),
                _ => {
                    if !name.is_empty() {
                        found.insert(std::mem::take(&mut name));
                        fresh = false;
                    }
                }
            }
            if c == ',' && depth == 0 && !name.is_empty() {
                found.insert(std::mem::take(&mut name));
            }
        }
        if !name.is_empty() {
            found.insert(name);
        }
    }
    found.retain(|name| !name.is_empty() && name.chars().all(|c| !c.is_uppercase()));
    found
}

fn sources(dir: &Path, out: &mut Vec<std::path::PathBuf>) {
    let entries = fs::read_dir(dir).expect("the folder is there");
    for path in entries.map(|entry| entry.expect("an entry can be read").path()) {
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            out.push(path);
        }
    }
}

#[test]
fn modules_use_only_what_they_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).expect("below src");
        let module = relative
            .components()
            .next()
            .map(|part| part.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned())
            .expect("a file has a name");
        if module == "lib" || module == "main" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("module `{module}` has no entry in ARROWS"));
            continue;
        };
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        // Tests may look wherever they like.
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if relative.to_string_lossy().contains("tests") {
            continue;
        }
        for name in uses(code) {
            if name != module && !allowed.contains(&name.as_str()) {
                wrong.push(format!("{}: `{module}` may not use `{name}`", relative.display()));
            }
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn names_are_found_in_all_forms() {
    let text = "use crate::{\n    a::{x, y},\n    b,\n    c::z,\n};\nuse crate::d::w;\nfn f() { crate::e::g() } // crate::no\n";
    let wanted = ["a", "b", "c", "d", "e"].map(str::to_owned);
    assert_eq!(uses(text), BTreeSet::from(wanted));
}

#[test]
fn one_version_of_the_packages_we_stand_on() {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock"))
        .expect("Cargo.lock is committed");
    for package in ["wgpu", "wgpu-core", "naga", "tokenizers", "half", "bytemuck", "safetensors"] {
        let line = format!("name = \"{package}\"");
        assert_eq!(lock.lines().filter(|l| *l == line).count(), 1, "{package}");
    }
}
