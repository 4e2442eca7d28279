//! The Hugging Face hub, through its own cache layout.

use std::path::{Path, PathBuf};

use hf_hub::{
    Cache, Repo, RepoType,
    api::sync::{Api, ApiBuilder, ApiRepo},
};

use super::{HubError, Progress, store};

const INDEX: &str = "model.safetensors.index.json";
const SINGLE: &str = "model.safetensors";
/// What a folder of safetensors needs beside its weights; fetched where the repository has them.
const COMPANIONS: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// `HF_HUB_CACHE`, else `HF_HOME/hub`, else `XDG_CACHE_HOME/huggingface/hub`, else the default.
fn cache() -> Cache {
    let folder =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = folder("HF_HUB_CACHE") {
        return Cache::new(path);
    }
    if let (None, Some(xdg)) = (folder("HF_HOME"), folder("XDG_CACHE_HOME")) {
        return Cache::new(xdg.join("huggingface").join("hub"));
    }
    Cache::from_env()
}

fn repo_of(repo: &str, revision: Option<&str>) -> Repo {
    match revision {
        Some(revision) => Repo::with_revision(repo.into(), RepoType::Model, revision.into()),
        None => Repo::model(repo.into()),
    }
}

/// The model in the local cache.
pub(super) fn find(repo: &str, revision: Option<&str>, file: Option<&str>) -> Option<PathBuf> {
    let cached = cache().repo(repo_of(repo, revision));
    let get = |name: &str| {
        // A pinned commit has no entry under `refs`, so its snapshot is looked for directly too.
        cached.get(name).or_else(|| {
            let path = cached.pointer_path(revision?).join(name);
            path.exists().then_some(path)
        })
    };
    if let Some(file) = file {
        return get(file);
    }
    let folder = get("config.json")?.parent()?.to_path_buf();
    is_complete(&folder).then_some(folder)
}

/// All weight files of a snapshot folder are there.
fn is_complete(folder: &Path) -> bool {
    if folder.join(SINGLE).exists() {
        return true;
    }
    shards_of(&folder.join(INDEX))
        .is_ok_and(|shards| shards.iter().all(|shard| folder.join(shard).exists()))
}

/// Fetches one file, or what a safetensors model needs; gives the file or the folder.
pub(super) fn pull(
    repo: &str,
    revision: Option<&str>,
    file: Option<&str>,
    progress: &mut dyn Progress,
) -> Result<PathBuf, HubError> {
    let cache = cache();
    let failed = |what: &str, error: &dyn std::fmt::Display| HubError::Fetch {
        what: what.into(),
        origin: format!("the hub ({repo})"),
        reason: error.to_string(),
    };
    let token = std::env::var("HF_TOKEN").ok().filter(|t| !t.is_empty()).or_else(|| cache.token());
    let mut builder = ApiBuilder::from_cache(cache).with_progress(false).with_retries(3);
    if let Ok(endpoint) = std::env::var("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').into());
    }
    let api = builder.with_token(token).build().map_err(|error| failed(repo, &error))?;
    let remote = api.repo(repo_of(repo, revision));
    if let Some(file) = file {
        return fetch(&api, &remote, file, progress)
            .map_err(|error| or_fetch(error, &failed, file));
    }
    let info = remote.info().map_err(|error| failed("the list of files", &error))?;
    let names: Vec<&str> = info.siblings.iter().map(|file| file.rfilename.as_str()).collect();
    let has = |name: &str| names.contains(&name);
    let ggufs: Vec<&str> = names.iter().copied().filter(|name| name.ends_with(".gguf")).collect();
    match ggufs.as_slice() {
        [] => {}
        [only] => {
            return fetch(&api, &remote, only, progress)
                .map_err(|error| or_fetch(error, &failed, only));
        }
        many => {
            return Err(HubError::Ambiguous {
                origin: format!("hf:{repo}"),
                found: format!("{} GGUF files: {}", many.len(), many.join(", ")),
            });
        }
    }
    if !has("config.json") || !(has(INDEX) || has(SINGLE)) {
        return Err(HubError::Ambiguous {
            origin: format!("hf:{repo}"),
            found: "no GGUF file, and no safetensors with a config.json".into(),
        });
    }
    let mut get = |name: &str| {
        fetch(&api, &remote, name, progress).map_err(|error| or_fetch(error, &failed, name))
    };
    let config = get("config.json")?;
    for name in COMPANIONS.into_iter().filter(|name| has(name)) {
        get(name)?;
    }
    if has(INDEX) {
        let index = get(INDEX)?;
        for shard in shards_of(&index).map_err(|reason| failed(INDEX, &reason))? {
            get(&shard)?;
        }
    } else {
        get(SINGLE)?;
    }
    config.parent().map(Path::to_path_buf).ok_or_else(|| failed("config.json", &"it has no folder"))
}

/// Either our own error, or what the hub's client said.
enum Failure {
    Ours(HubError),
    Theirs(String),
}

fn or_fetch(
    failure: Failure,
    failed: &dyn Fn(&str, &dyn std::fmt::Display) -> HubError,
    what: &str,
) -> HubError {
    match failure {
        Failure::Ours(error) => error,
        Failure::Theirs(reason) => failed(what, &reason),
    }
}

/// One file, from the cache or resumed where an earlier try stopped.
fn fetch(
    api: &Api,
    remote: &ApiRepo,
    name: &str,
    progress: &mut dyn Progress,
) -> Result<PathBuf, Failure> {
    let theirs = |error: hf_hub::api::sync::ApiError| Failure::Theirs(error.to_string());
    let metadata = api.metadata(&remote.url(name)).map_err(theirs)?;
    let root = cache().path().clone();
    std::fs::create_dir_all(&root)
        .map_err(|error| Failure::Ours(store::io_error("cannot create", &root)(error)))?;
    store::check_room(&root, metadata.size() as u64).map_err(Failure::Ours)?;
    let bar = Bar { progress, total: metadata.size() as u64 };
    remote.download_with_progress(name, bar).map_err(theirs)
}

struct Bar<'a> {
    progress: &'a mut dyn Progress,
    total: u64,
}

impl hf_hub::api::Progress for Bar<'_> {
    fn init(&mut self, size: usize, filename: &str) {
        self.total = size as u64;
        self.progress.start(filename, self.total, 0);
    }

    fn update(&mut self, size: usize) {
        self.progress.advance(size as u64);
    }

    fn finish(&mut self) {
        self.progress.finish();
    }
}

/// File names in an index, each once, none leaving the folder.
fn shards_of(index: &Path) -> Result<Vec<String>, String> {
    let text = std::fs::read_to_string(index).map_err(|error| error.to_string())?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let map = json.get("weight_map").and_then(|map| map.as_object()).ok_or("no `weight_map`")?;
    let mut names: Vec<String> = Vec::new();
    for value in map.values() {
        let name = value.as_str().ok_or("`weight_map` has an entry that is no string")?;
        if name.is_empty()
            || name.starts_with('/')
            || name.split(['/', '\\']).any(|part| part == "..")
        {
            return Err(format!("shard `{name}` lies outside the model's folder"));
        }
        names.push(name.into());
    }
    names.sort();
    names.dedup();
    if names.is_empty() { Err("`weight_map` is empty".into()) } else { Ok(names) }
}
