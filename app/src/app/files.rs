//! File dialogs, on threads of their own: the portal may take its time.
//!
//! Where the system has none (no portal, no `zenity`, as on a bare window manager) the path is asked
//! for within the window.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use egui::Context;

use crate::{export::Export, history::ExportFormat};

/// A dialog that is gone after less was none: there is a bus, and nobody on it who shows dialogs. Who
/// does close one as quickly is asked within the window and closes that.
const NO_DIALOG: Duration = Duration::from_secs(1);

/// What a file is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To load a model.
    OpenModel,
    /// To show a trace.
    OpenTrace,
    /// To write the rounds on screen.
    SaveTrace,
    /// To write rounds for other programs.
    ExportTrace(Export),
    /// To add conversations.
    Import,
    /// To write conversations.
    Export(ExportFormat, Scope),
}

impl Purpose {
    /// Title of the dialog.
    pub const fn title(self) -> &'static str {
        match self {
            Self::OpenModel => "Open model",
            Self::OpenTrace => "Open trace",
            Self::SaveTrace => "Save trace",
            Self::Import => "Import chats",
            Self::Export(..) | Self::ExportTrace(_) => "Export",
        }
    }

    /// Whether the file will be written.
    pub const fn writes(self) -> bool {
        matches!(self, Self::SaveTrace | Self::ExportTrace(_) | Self::Export(..))
    }

    /// Name of a kind of files, and their extensions.
    const fn filter(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::OpenModel => ("Models", &["gguf", "safetensors"]),
            Self::OpenTrace | Self::SaveTrace => ("Traces", &["jsonl"]),
            Self::Import | Self::Export(ExportFormat::Json, _) => ("Chats", &["json"]),
            Self::Export(ExportFormat::Markdown, _) => ("Markdown", &["md"]),
            Self::ExportTrace(Export::TreeSvg) => ("SVG", &["svg"]),
            Self::ExportTrace(Export::TreePng) => ("PNG", &["png"]),
            Self::ExportTrace(Export::Rounds | Export::Nodes) => ("CSV", &["csv"]),
        }
    }
}

/// Which conversations are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The one on screen.
    Open,
    /// All.
    All,
}

/// A path that is asked for within the window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedPath {
    /// What for.
    pub purpose: Purpose,
    /// What is typed.
    pub text: String,
    /// Put the cursor there in the next frame.
    pub focus: bool,
    /// The file that is there already and would be replaced.
    pub replaces: Option<PathBuf>,
}

impl AskedPath {
    fn new(purpose: Purpose, name: &str) -> Self {
        let home = std::env::home_dir().unwrap_or_default();
        let text = home.join(name).display().to_string();
        Self { purpose, text, focus: true, replaces: None }
    }

    /// The path that is typed; `~` is the user's home folder.
    pub fn path(&self) -> Option<PathBuf> {
        let text = self.text.trim();
        let path = match (text.strip_prefix("~/"), std::env::home_dir()) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        };
        path.file_name().is_some().then_some(path)
    }
}

/// What came of a dialog.
pub(super) enum Picked {
    File(Purpose, PathBuf),
    /// The system has no dialogs.
    NoDialog(AskedPath),
    /// The file to be written is there already.
    Exists(PathBuf),
}

/// Open dialogs.
pub(super) struct Dialogs {
    ctx: Context,
    picked: Arc<Mutex<Vec<Picked>>>,
}

impl Dialogs {
    pub(super) fn new(ctx: Context) -> Self {
        Self { ctx, picked: Arc::default() }
    }

    /// Asks for a file; `name` is the proposed name of one to be written. `native` is false for a
    /// question within the window even where the system has dialogs.
    pub(super) fn ask(&self, purpose: Purpose, name: &str, native: bool) {
        let asked = AskedPath::new(purpose, name);
        if !native || !may_have_dialogs(|name| std::env::var_os(name)) {
            return self.post(Picked::NoDialog(asked));
        }
        let name = name.to_owned();
        let fallback = Picked::NoDialog(asked.clone());
        self.aside(fallback, move || {
            let opened = Instant::now();
            match show(purpose, &name) {
                Some(path) => Some(Picked::File(purpose, path)),
                None if opened.elapsed() < NO_DIALOG => Some(Picked::NoDialog(asked)),
                None => None,
            }
        });
    }

    /// Takes a path that was typed, unless a file would be replaced that `replaces` does not name.
    pub(super) fn typed(&self, purpose: Purpose, path: PathBuf, replaces: Option<&Path>) {
        if !purpose.writes() || replaces == Some(path.as_path()) {
            return self.post(Picked::File(purpose, path));
        }
        let unchecked = Picked::Exists(path.clone());
        // A disk of the network may take its time to say what is there.
        self.aside(unchecked, move || {
            let there = path.exists();
            Some(if there { Picked::Exists(path) } else { Picked::File(purpose, path) })
        });
    }

    /// Does work on a thread; `instead` is posted where there is no room for one.
    fn aside(&self, instead: Picked, work: impl FnOnce() -> Option<Picked> + Send + 'static) {
        let there = Self { ctx: self.ctx.clone(), picked: self.picked.clone() };
        let spawned = std::thread::Builder::new().name("coppice-dialog".into()).spawn(move || {
            if let Some(picked) = work() {
                there.post(picked);
            }
        });
        if spawned.is_err() {
            self.post(instead);
        }
    }

    fn post(&self, picked: Picked) {
        self.picked.lock().unwrap_or_else(PoisonError::into_inner).push(picked);
        self.ctx.request_repaint();
    }

    /// Files chosen since the last call.
    pub(super) fn take(&self) -> Vec<Picked> {
        std::mem::take(&mut *self.picked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn show(purpose: Purpose, name: &str) -> Option<PathBuf> {
    let (filter, extensions) = purpose.filter();
    let dialog = rfd::FileDialog::new().set_title(purpose.title()).add_filter(filter, extensions);
    match purpose {
        _ if purpose.writes() => dialog.set_file_name(name).save_file(),
        Purpose::OpenModel => dialog.add_filter("All files", &["*"]).pick_file(),
        _ => dialog.pick_file(),
    }
}

/// Whether the system may have dialogs, by its environment. On Linux and the BSDs a portal is reached
/// over the session's bus, and `zenity` is a program; other systems always have them.
fn may_have_dialogs(env: impl Fn(&str) -> Option<OsString>) -> bool {
    if cfg!(not(unix)) || cfg!(target_os = "macos") {
        return true;
    }
    let bus = env("DBUS_SESSION_BUS_ADDRESS").is_some_and(|address| !address.is_empty())
        || env("XDG_RUNTIME_DIR").is_none_or(|folder| Path::new(&folder).join("bus").exists());
    let in_path =
        |paths: OsString| std::env::split_paths(&paths).any(|path| path.join("zenity").is_file());
    bus || env("PATH").is_some_and(in_path)
}

/// A file name made from a title.
pub(super) fn file_name(title: &str, extension: &str) -> String {
    const LONGEST: usize = 60;
    let safe = |c: char| if c.is_alphanumeric() || " -_.".contains(c) { c } else { '-' };
    let name: String = title.chars().map(safe).take(LONGEST).collect();
    let name = name.trim_matches([' ', '.', '-']);
    format!("{}.{extension}", if name.is_empty() { "chat" } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(all(unix, not(target_os = "macos")))]
    fn dialogs_need_a_bus_or_zenity() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let here = folder.path().as_os_str().to_owned();
        let env = |names: &'static [&'static str]| {
            let here = here.clone();
            move |name: &str| names.contains(&name).then(|| here.clone())
        };
        let bare = &["XDG_RUNTIME_DIR", "PATH"];
        assert!(!may_have_dialogs(env(bare)));
        assert!(may_have_dialogs(env(&["PATH"])), "the bus may be at its usual place");
        assert!(may_have_dialogs(env(&["XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"])));
        std::fs::write(folder.path().join("zenity"), "").expect("writable");
        assert!(may_have_dialogs(env(bare)));
        std::fs::remove_file(folder.path().join("zenity")).expect("it was there");
        std::fs::write(folder.path().join("bus"), "").expect("writable");
        assert!(may_have_dialogs(env(bare)));
    }

    #[test]
    fn names_stay_in_their_folder() {
        assert_eq!(file_name("../../etc/passwd", "md"), "etc-passwd.md");
        assert_eq!(file_name("Was ist ein Gehölz?", "json"), "Was ist ein Gehölz.json");
        assert_eq!(file_name("...", "md"), "chat.md");
    }
}
