//! File dialogs, on threads of their own: the portal may take its time.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use egui::Context;

use crate::history::ExportFormat;

/// What a file is chosen for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    OpenModel,
    OpenTrace,
    SaveTrace,
    Import,
    Export(ExportFormat, Scope),
}

/// Which conversations are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    Open,
    All,
}

/// What came of a dialog.
pub(super) enum Picked {
    File(Purpose, PathBuf),
    /// The system has no dialogs.
    Failed(String),
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

    /// Asks for a file; `name` is the proposed name of one to be written.
    pub(super) fn ask(&self, purpose: Purpose, name: &str) {
        let (ctx, picked, name) = (self.ctx.clone(), self.picked.clone(), name.to_owned());
        let end = self.picked.clone();
        let spawned = std::thread::Builder::new().name("coppice-dialog".into()).spawn(move || {
            if let Some(path) = show(purpose, &name) {
                picked
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Picked::File(purpose, path));
                ctx.request_repaint();
            }
        });
        if let Err(error) = spawned {
            let failed = Picked::Failed(format!("cannot open a file dialog: {error}"));
            end.lock().unwrap_or_else(PoisonError::into_inner).push(failed);
        }
    }

    /// Files chosen since the last call.
    pub(super) fn take(&self) -> Vec<Picked> {
        std::mem::take(&mut *self.picked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn show(purpose: Purpose, name: &str) -> Option<PathBuf> {
    let dialog = rfd::FileDialog::new();
    match purpose {
        Purpose::OpenModel => dialog
            .set_title("Open model")
            .add_filter("Models", &["gguf", "safetensors"])
            .add_filter("All files", &["*"])
            .pick_file(),
        Purpose::OpenTrace => {
            dialog.set_title("Open trace").add_filter("Traces", &["jsonl"]).pick_file()
        }
        Purpose::Import => {
            dialog.set_title("Import chats").add_filter("Chats", &["json"]).pick_file()
        }
        Purpose::SaveTrace => dialog
            .set_title("Save trace")
            .add_filter("Traces", &["jsonl"])
            .set_file_name(name)
            .save_file(),
        Purpose::Export(format, _) => {
            let (filter, extension) = match format {
                ExportFormat::Json => ("Chats", "json"),
                ExportFormat::Markdown => ("Markdown", "md"),
            };
            dialog
                .set_title("Export")
                .add_filter(filter, &[extension])
                .set_file_name(name)
                .save_file()
        }
    }
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
    fn names_stay_in_their_folder() {
        assert_eq!(file_name("../../etc/passwd", "md"), "etc-passwd.md");
        assert_eq!(file_name("Was ist ein Gehölz?", "json"), "Was ist ein Gehölz.json");
        assert_eq!(file_name("...", "md"), "chat.md");
    }
}
