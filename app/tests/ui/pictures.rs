//! Few small pictures against stored ones, for what outlines of text cannot show: places, colours,
//! shapes. `COPPICE_UPDATE_PICTURES=1` stores them anew; look at them before committing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use coppice_app::{
    app::{App, Paths, Start},
    command::Command,
    headless::{self, Canvas},
    settings::Theme,
    state::Action,
};
use egui::Context;

use crate::common::{Fake, FakeMachine, Script};

/// Differences of a channel that drivers may have.
const TOLERANCE: u8 = 40;
/// Share of pixels that may differ by more.
const BUDGET: f64 = 0.004;

/// An app in a window without a display.
struct Scene {
    app: App,
    ctx: Context,
    folder: tempfile::TempDir,
}

impl Scene {
    fn new(fake: &Arc<Fake>, start: &Start, theme: Theme) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let ctx = headless::context();
        let machine = Arc::new(FakeMachine(fake.clone()));
        let paths = Paths::in_folder(folder.path());
        let mut app = App::new(&ctx, machine, &paths, start).expect("there are threads");
        app.state.settings.theme = theme;
        // Pictures show how things end up, not how they fade in.
        ctx.all_styles_mut(|style| style.animation_time = 0.0);
        Self { app, ctx, folder }
    }

    fn until(&mut self, so: impl Fn(&App) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !so(&self.app) {
            self.app.logic(&self.ctx);
            assert!(Instant::now() < deadline, "waited in vain");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn compare(mut self, name: &str, size: [f32; 2]) {
        let stored =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/ui/pictures/{name}.png"));
        let drawn = self.folder.path().join("drawn.png");
        let canvas = Canvas { points: size.into(), scale: 1.0 };
        headless::screenshot(
            &mut self.app,
            &self.ctx,
            canvas,
            Duration::from_secs(60),
            |app| app.state.opening.is_none(),
            &drawn,
        )
        .expect("there is a driver to draw with");
        if std::env::var_os("COPPICE_UPDATE_PICTURES").is_some() {
            std::fs::copy(&drawn, &stored).expect("the folder is writable");
        }
        let share = difference(&stored, &drawn);
        if share > BUDGET {
            let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.png"));
            std::fs::copy(&drawn, &kept).expect("the folder is writable");
            panic!(
                "{:.2} % of the pixels differ from {}; what was drawn is in {}",
                share * 100.0,
                stored.display(),
                kept.display()
            );
        }
    }
}

/// Size and bytes of a picture.
fn read(path: &Path) -> ([u32; 2], Vec<u8>) {
    let file = std::fs::File::open(path).expect("the picture is stored");
    let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().expect("a PNG");
    let mut bytes = vec![0; reader.output_buffer_size().expect("it fits in memory")];
    let info = reader.next_frame(&mut bytes).expect("a whole PNG");
    ([info.width, info.height], bytes)
}

/// Share of pixels that differ by more than drivers may.
fn difference(a: &Path, b: &Path) -> f64 {
    let ((size_a, a), (size_b, b)) = (read(a), read(b));
    assert_eq!(size_a, size_b);
    let far = |(a, b): (&[u8], &[u8])| a.iter().zip(b).any(|(a, b)| a.abs_diff(*b) > TOLERANCE);
    let pixels = a.chunks_exact(4).zip(b.chunks_exact(4));
    pixels.clone().filter(|pair| far(*pair)).count() as f64 / pixels.len() as f64
}

#[test]
fn a_first_start_in_the_dark() {
    let scene = Scene::new(&Arc::default(), &Start::default(), Theme::Dark);
    scene.compare("first-start-dark", [640.0, 400.0]);
}

#[test]
fn an_answer_in_the_light() {
    let fake = Arc::new(Fake::default());
    fake.script(Script::Say("**Hazel** grows back:\n\n```python\nprint('hazel')\n```"));
    let start = Start { model: Some("/models/tiny.gguf".into()), ..Start::default() };
    let mut scene = Scene::new(&fake, &start, Theme::Light);
    scene.until(|app| app.state.model.ready().is_some());
    let ctx = scene.ctx.clone();
    scene.app.act(&ctx, Action::Send("Which trees grow back?".into()));
    scene.until(|app| app.state.writing.is_none());
    scene.compare("answer-light", [640.0, 400.0]);
}

#[test]
fn the_palette_over_the_rest() {
    let mut scene = Scene::new(&Arc::default(), &Start::default(), Theme::Dark);
    let ctx = scene.ctx.clone();
    scene.app.act(&ctx, Action::Run(Command::Palette));
    scene.compare("palette-dark", [640.0, 400.0]);
}
