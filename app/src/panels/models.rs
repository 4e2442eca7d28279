//! Choosing a model: what it is called, what it needs, where it runs, who drafts.

use std::path::{Path, PathBuf};

use coppice::spec::Method;
use egui::{ComboBox, DragValue, Label, ProgressBar, RichText, Ui};

use super::bytes;
use crate::{
    command::Command,
    problem::Problem,
    state::{Action, Cx, ModelState, Pulling, State},
    tokens,
    worker::{MemoryNeed, TreeSize},
};

/// Name of a file or folder.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned())
}

/// What the model button says.
pub(super) fn short_text(state: &State) -> String {
    match (&state.pull, &state.model) {
        (Some(pull), _) => match percent(pull) {
            Some(share) => format!("Downloading {} %", (share * 100.0) as u32),
            None => "Downloading".into(),
        },
        (_, ModelState::Absent) => "Choose a model".into(),
        (_, ModelState::Loading { path, .. }) => format!("Loading {}", name_of(path)),
        (_, ModelState::Ready(info)) => info.name.clone(),
        (_, ModelState::Failed { path, .. }) => format!("▲ {}", name_of(path)),
    }
}

/// Share of a download that is done, if the size is known.
pub(super) fn percent(pull: &Pulling) -> Option<f32> {
    let total = pull.state.total_bytes;
    (total > 0).then(|| (pull.state.done_bytes as f32 / total as f32).clamp(0.0, 1.0))
}

/// A download with its progress and a button that stops it.
pub(super) fn pull_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let Some(pull) = &cx.state.pull else { return };
    let (done, total) = (pull.state.done_bytes, pull.state.total_bytes);
    let seconds = pull.since.elapsed().as_secs_f64();
    let rate = if seconds > 0.5 { done as f64 / seconds } else { 0.0 };
    let bar = match percent(pull) {
        Some(share) => ProgressBar::new(share).show_percentage(),
        None => ProgressBar::new(0.0).animate(true).text("Connecting"),
    };
    ui.label(format!("Downloading {}", pull.state.name));
    ui.add(bar);
    if total > 0 {
        let left = if rate > 1.0 {
            format!(", {:.0} s left", total.saturating_sub(done) as f64 / rate)
        } else {
            String::new()
        };
        ui.weak(format!("{} of {}, {}/s{left}", bytes(done), bytes(total), bytes(rate as u64)));
    }
    if let Some(note) = &pull.state.note {
        ui.add(Label::new(RichText::new(note).weak()).wrap());
    }
    if ui.button("Stop download").clicked() {
        cx.ask(Action::CancelPull);
    }
}

/// The popup behind the model button.
pub(super) fn picker_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.set_min_width(320.0);
    ui.set_max_width(400.0);
    state_ui(ui, cx);
    ui.separator();
    ui.strong("Models");
    let default = coppice::hub::DEFAULT_MODEL;
    let recent: Vec<PathBuf> = cx.state.settings.recent_models.clone();
    let found = cx.state.found_default.clone().filter(|path| !recent.contains(path));
    for path in recent.iter().chain(&found) {
        model_row_ui(ui, cx, path);
    }
    ui.horizontal(|ui| {
        if cx.state.pull.is_none()
            && found.is_none()
            && !recent.iter().any(|path| name_of(path).to_lowercase().contains(default))
            && ui.button("Download SmolLM2 135M (94 MiB)").clicked()
        {
            cx.ask(Action::Pull(default.into()));
            ui.close();
        }
        if ui.button("Open file…").clicked() {
            cx.ask(Action::Run(Command::OpenModel));
            ui.close();
        }
    });
    ui.weak("or drop a GGUF file onto the window");
    ui.separator();
    loading_ui(ui, cx);
}

fn state_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    match &cx.state.model {
        ModelState::Absent if cx.state.pull.is_none() => {
            ui.label("No model is loaded");
        }
        ModelState::Absent => {}
        ModelState::Loading { path, since } => {
            ui.horizontal(|ui| {
                ui.spinner();
                let seconds = since.elapsed().as_secs();
                ui.label(format!("Loading {} ({seconds} s)", name_of(path)));
            });
        }
        ModelState::Ready(info) => {
            ui.strong(&info.name);
            ui.add(Label::new(&info.device).wrap());
            ui.weak(format!(
                "{} in memory, context of {} tokens",
                bytes(info.memory_bytes),
                info.context
            ));
            if ui.button("Unload").on_hover_text("Free its memory").clicked() {
                cx.ask(Action::Unload);
            }
        }
        ModelState::Failed { path, problem } => {
            let (path, problem) = (path.clone(), problem.clone());
            let again = super::problem_ui(ui, &problem, |ui| ui.button("Try again").clicked());
            if again {
                cx.ask(again_action(&path));
            }
        }
    }
    pull_ui(ui, cx);
}

/// What to do again after a failure: fetch what has a name, load what has a path.
pub(super) fn again_action(path: &Path) -> Action {
    if path == Path::new(coppice::hub::DEFAULT_MODEL) {
        Action::Pull(coppice::hub::DEFAULT_MODEL.into())
    } else {
        Action::LoadModel(path.into())
    }
}

fn model_row_ui(ui: &mut Ui, cx: &mut Cx<'_>, path: &Path) {
    let current = cx.state.model.ready().is_some_and(|info| info.path == path);
    if !cx.state.needs.contains_key(path) {
        cx.ask(Action::Estimate(path.into()));
    }
    let need = cx.state.needs.get(path).cloned().flatten();
    let name = name_of(path);
    let button = ui.selectable_label(current, &name).on_hover_text(path.display().to_string());
    if button.clicked() && !current {
        cx.ask(Action::LoadModel(path.into()));
        ui.close();
    }
    ui.indent(("need", path), |ui| need_ui(ui, need.as_ref()));
}

fn need_ui(ui: &mut Ui, need: Option<&Result<MemoryNeed, Problem>>) {
    let palette = tokens::palette(ui);
    let small = |text: String| RichText::new(text).size(tokens::SMALL);
    match need {
        None => {
            ui.label(small("reading…".into()).color(palette.weak));
        }
        Some(Err(problem)) => {
            ui.add(Label::new(small(problem.what.clone()).color(palette.danger)).wrap());
        }
        Some(Ok(need)) => {
            let text = format!(
                "needs {}: weights {}, cache {} for {} tokens",
                bytes(need.total_bytes()),
                bytes(need.weights_bytes),
                bytes(need.kv_bytes),
                need.context
            );
            ui.add(Label::new(small(text).color(palette.weak)).wrap());
            if let Some(free) = need.free_bytes.filter(|_| !need.fits()) {
                let text = format!("▲ only {} free: choose a shorter context", bytes(free));
                ui.add(Label::new(small(text).color(palette.warning)).wrap());
            }
        }
    }
}

/// How models are loaded, and who drafts.
fn loading_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let before = (
        cx.state.settings.device.clone(),
        cx.state.settings.context,
        cx.state.settings.drafting.clone(),
    );
    egui::Grid::new("loading").num_columns(2).spacing([12.0, 6.0]).show(ui, |ui| {
        let label = ui.label("Device");
        device_ui(ui, cx).labelled_by(label.id);
        ui.end_row();
        let label = ui.label("Context");
        let mut context = cx.state.settings.context.unwrap_or(0);
        let drag = DragValue::new(&mut context).range(0..=1 << 20).speed(64.0);
        let drag = drag.custom_formatter(|n, _| match n as usize {
            0 => "automatic".into(),
            n => format!("{n} tokens"),
        });
        ui.add(drag).labelled_by(label.id);
        cx.state.settings.context = (context > 0).then_some(context);
        ui.end_row();
        let drafting = &mut cx.state.settings.drafting;
        let label = ui.label("Drafting");
        ComboBox::from_id_salt("method")
            .selected_text(method_text(drafting.method))
            .show_ui(ui, |ui| {
                // The others need a file that only the command line can name yet.
                for method in [Method::Auto, Method::Medusa, Method::Lookup, Method::Plain] {
                    ui.selectable_value(&mut drafting.method, method, method_text(method));
                }
            })
            .response
            .labelled_by(label.id);
        ui.end_row();
        let label = ui.label("Tree");
        let mut nodes = match drafting.tree {
            TreeSize::Auto => 0,
            TreeSize::Nodes(nodes) => nodes,
        };
        let drag = DragValue::new(&mut nodes).range(0..=coppice::spec::MAX_NODES).speed(0.2);
        let drag = drag.custom_formatter(|n, _| match n as usize {
            0 => "automatic".into(),
            n => format!("{n} nodes"),
        });
        ui.add(drag).labelled_by(label.id);
        drafting.tree = if nodes == 0 { TreeSize::Auto } else { TreeSize::Nodes(nodes) };
        ui.end_row();
        ui.label("");
        ui.checkbox(&mut drafting.gate, "Draft only where it pays")
            .on_hover_text("Falls back to plain steps where drafting would be slower");
        ui.end_row();
    });
    let settings = &cx.state.settings;
    let reload = (&before.0, before.1) != (&settings.device, settings.context)
        || before.2.method != settings.drafting.method;
    if reload {
        cx.state.needs.clear();
    }
    let loaded = cx.state.model.ready().map(|info| info.path.clone());
    if let Some(path) = loaded
        && ui.button("Load again with these settings").clicked()
    {
        cx.ask(Action::LoadModel(path));
        ui.close();
    }
}

fn device_ui(ui: &mut Ui, cx: &mut Cx<'_>) -> egui::Response {
    let mut devices =
        vec![("auto".to_owned(), "Automatic".to_owned()), ("cpu".into(), "CPU".into())];
    if let Some(Ok(list)) = &cx.state.devices.list {
        let others = list.iter().filter(|device| !matches!(&*device.selector, "cpu" | "reference"));
        devices
            .extend(others.map(|d| (d.selector.clone(), format!("{} ({})", d.name, d.selector))));
    } else if !cx.state.devices.listing {
        cx.ask(Action::Run(Command::RefreshDevices));
    }
    let chosen = &mut cx.state.settings.device;
    let text = devices.iter().find(|(selector, _)| selector == chosen);
    let text = text.map_or_else(|| chosen.clone(), |(_, name)| name.clone());
    ComboBox::from_id_salt("device")
        .selected_text(text)
        .truncate()
        .show_ui(ui, |ui| {
            for (selector, name) in devices {
                ui.selectable_value(chosen, selector, name);
            }
        })
        .response
}

fn method_text(method: Method) -> &'static str {
    match method {
        Method::Plain => "None",
        Method::Medusa => "Medusa heads",
        Method::Lookup => "Prompt lookup",
        Method::Rest => "Datastore",
        Method::Draft => "Smaller model",
        Method::Auto => "Automatic",
    }
}
