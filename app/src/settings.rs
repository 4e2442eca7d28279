//! What is remembered between starts, and the thread that writes it.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Sender, channel},
    thread::JoinHandle,
};

use coppice::sample::SamplerParams;
use serde::{Deserialize, Serialize};

use crate::{
    history::ChatId,
    layout::{Layouts, View},
    problem::Problem,
    worker::Drafting,
};

/// Light, dark, or as the system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Theme {
    /// As the system.
    #[default]
    System,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// For egui.
    pub const fn preference(self) -> egui::ThemePreference {
        match self {
            Self::System => egui::ThemePreference::System,
            Self::Light => egui::ThemePreference::Light,
            Self::Dark => egui::ThemePreference::Dark,
        }
    }
}

/// How tokens are chosen, as the panel shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    /// Settings; the seed in here counts only if `fixed_seed`.
    pub params: SamplerParams,
    /// Use the seed of `params` each time; else a new one for each answer.
    pub fixed_seed: bool,
    /// Most tokens of an answer; none if 0.
    pub max_tokens: usize,
    /// Texts that end an answer, one a line.
    pub stop: String,
}

impl Default for Sampling {
    fn default() -> Self {
        Preset::built_in().swap_remove(0).sampling
    }
}

impl Sampling {
    /// Stop texts, without empty lines.
    pub fn stop_texts(&self) -> Vec<String> {
        self.stop.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }
}

/// Named sampling settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preset {
    /// Name.
    pub name: String,
    /// Settings.
    pub sampling: Sampling,
}

impl Preset {
    /// Those that come with the app; the first is the default.
    pub fn built_in() -> Vec<Self> {
        let preset = |name: &str, temperature, top_k, top_p, min_p, repeat_penalty| Self {
            name: name.into(),
            sampling: Sampling {
                params: SamplerParams {
                    temperature,
                    top_k,
                    top_p,
                    min_p,
                    repeat_penalty,
                    ..SamplerParams::default()
                },
                fixed_seed: false,
                max_tokens: 1024,
                stop: String::new(),
            },
        };
        vec![
            preset("Balanced", 0.7, 40, 0.95, 0.05, 1.05),
            preset("Precise", 0.2, 20, 0.9, 0.05, 1.05),
            preset("Creative", 1.1, 0, 0.98, 0.05, 1.05),
            preset("Greedy", 0.0, 0, 1.0, 0.0, 1.0),
        ]
    }
}

/// What is remembered between starts. Unknown fields of newer versions are ignored, missing ones
/// take their defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Light or dark.
    pub theme: Theme,
    /// Size of everything, 1 to 2.
    pub scale: f32,
    /// View on screen.
    pub view: View,
    /// Tiles of all views.
    #[serde(deserialize_with = "layouts_or_default")]
    pub layouts: Layouts,
    /// List of chats is shown.
    pub sidebar: bool,
    /// Sampling panel is shown.
    pub sampling_panel: bool,
    /// Answers are shown as tokens, coloured by who guessed them.
    pub tokens: bool,
    /// File or folder of the model used last.
    pub model: Option<PathBuf>,
    /// Models used before, newest first.
    pub recent_models: Vec<PathBuf>,
    /// Selector of the device.
    pub device: String,
    /// Tokens of context; the model's own if absent.
    pub context: Option<usize>,
    /// Who drafts.
    pub drafting: Drafting,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The user's own presets.
    pub presets: Vec<Preset>,
    /// System prompt of new chats.
    pub system: String,
    /// The conversation on screen.
    pub chat: Option<ChatId>,
    /// Size of the window in points.
    pub window: Option<[f32; 2]>,
    /// Files are chosen in dialogs of the system; else by their path.
    pub native_dialogs: bool,
}

/// Tiles that this version does not know cost their layout, not the settings.
fn layouts_or_default<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Layouts, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            theme: Theme::System,
            scale: 1.0,
            view: View::Chat,
            layouts: Layouts::default(),
            sidebar: true,
            sampling_panel: false,
            tokens: false,
            model: None,
            recent_models: Vec::new(),
            device: "auto".into(),
            context: None,
            drafting: Drafting::default(),
            sampling: Sampling::default(),
            presets: Vec::new(),
            system: "You are a helpful assistant.".into(),
            chat: None,
            window: None,
            native_dialogs: true,
        }
    }
}

impl Settings {
    /// Reads the file; defaults if there is none. A file that cannot be read is kept beside under
    /// another name and the defaults are used, with a problem to show.
    pub fn load(path: &Path) -> (Self, Option<Problem>) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return (Self::default(), None);
            }
            Err(error) => {
                let what = format!("cannot read {}: {error}", path.display());
                return (Self::default(), Some(Problem::new(what, "default settings are used")));
            }
        };
        match serde_json::from_str::<Self>(&text) {
            Ok(settings) => (settings.sane(), None),
            Err(error) => {
                let aside = path.with_extension("unreadable.json");
                let kept = std::fs::rename(path, &aside).is_ok();
                let hint = match kept {
                    true => format!(
                        "default settings are used; the old ones are in {}",
                        aside.display()
                    ),
                    false => "default settings are used".into(),
                };
                (Self::default(), Some(Problem::new(format!("{}: {error}", path.display()), hint)))
            }
        }
    }

    /// Values that the window can live with.
    fn sane(mut self) -> Self {
        self.scale = if self.scale.is_finite() { self.scale.clamp(1.0, 2.0) } else { 1.0 };
        self.window =
            self.window.filter(|[w, h]| (300.0..1e5).contains(w) && (200.0..1e5).contains(h));
        if self.sampling.params.check().is_err() {
            self.sampling = Sampling::default();
        }
        self.layouts.complete();
        self
    }

    /// Remembers a model as the one used last.
    pub fn remember_model(&mut self, path: &Path) {
        const KEPT: usize = 8;
        self.model = Some(path.into());
        self.recent_models.retain(|known| known != path);
        self.recent_models.insert(0, path.into());
        self.recent_models.truncate(KEPT);
    }
}

/// Writes settings on a thread of its own, so that no frame waits for a disk.
pub struct Saver {
    texts: Option<Sender<String>>,
    thread: Option<JoinHandle<()>>,
    saved: Settings,
}

impl Saver {
    /// A saver to a file that holds `saved`.
    ///
    /// # Errors
    /// A system without room for a thread.
    pub fn start(path: PathBuf, saved: Settings) -> std::io::Result<Self> {
        let (texts, inbox) = channel::<String>();
        let thread =
            std::thread::Builder::new().name("coppice-settings".into()).spawn(move || {
                while let Ok(mut text) = inbox.recv() {
                    // Only the newest counts.
                    while let Ok(newer) = inbox.try_recv() {
                        text = newer;
                    }
                    let partial = path.with_extension("partial");
                    let folder = path.parent().unwrap_or(Path::new("."));
                    // Settings that cannot be kept are worth no dialog: they hold until the app ends.
                    let _ = std::fs::create_dir_all(folder)
                        .and_then(|()| std::fs::write(&partial, text))
                        .and_then(|()| std::fs::rename(&partial, &path));
                }
            })?;
        Ok(Self { texts: Some(texts), thread: Some(thread), saved })
    }

    /// Writes settings if they changed.
    pub fn save(&mut self, settings: &Settings) {
        if self.saved == *settings {
            return;
        }
        self.saved = settings.clone();
        let text = serde_json::to_string_pretty(settings).expect("settings are plain data");
        if let Some(texts) = &self.texts {
            let _ = texts.send(text);
        }
    }
}

impl Drop for Saver {
    /// Waits until the last settings are written.
    fn drop(&mut self) {
        self.texts = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_and_damaged_ones_are_kept_aside() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("settings.json");
        let mut settings = Settings::load(&path).0;
        assert_eq!(settings, Settings::default());
        let mut saver = Saver::start(path.clone(), settings.clone()).expect("a thread");
        settings.scale = 1.5;
        settings.remember_model(Path::new("/models/a.gguf"));
        saver.save(&settings);
        drop(saver);
        assert_eq!(Settings::load(&path), (settings, None));
        std::fs::write(&path, "{\"scale\": ").expect("writable");
        let (read, problem) = Settings::load(&path);
        assert_eq!(read, Settings::default());
        assert!(problem.expect("it is damaged").hint.expect("advice").contains("unreadable"));
        assert!(path.with_extension("unreadable.json").exists());
    }

    #[test]
    fn wild_values_are_tamed() {
        let text =
            r#"{"scale": 99.0, "window": [1e30, 5.0], "unknown": true, "layouts": {"chat": 1}}"#;
        let settings: Settings = serde_json::from_str(text).expect("it is JSON");
        let settings = settings.sane();
        assert_eq!((settings.scale, settings.window), (2.0, None));
        assert_eq!(settings.layouts, Layouts::default());
    }

    #[test]
    fn presets_are_valid() {
        for preset in Preset::built_in() {
            preset.sampling.params.check().expect("it is in range");
        }
    }
}
