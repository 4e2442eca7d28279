//! An empty conversation: the way to a first answer.

use egui::{Button, Label, RichText, ScrollArea, Ui};

use crate::{
    command::Command,
    panels::{models, problem_ui},
    state::{Action, Cx, ModelState},
    tokens,
};

/// Questions to begin with.
const QUESTIONS: [&str; 3] = [
    "Explain speculative decoding to a gardener.",
    "Write a Python function that tests whether a word is a palindrome.",
    "List five trees that grow back when they are cut.",
];

pub(super) fn welcome_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let palette = tokens::palette(ui);
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.add_space(((ui.available_height() - 260.0) / 2.0).max(12.0));
        super::column_ui(ui, |ui| {
            ui.vertical_centered(|ui| {
                ui.label(RichText::new("Coppice").size(28.0).color(palette.text));
                let motto = RichText::new("Local answers, and the trees they grow on");
                ui.add(Label::new(motto.color(palette.weak)).wrap());
                ui.add_space(14.0);
                way_ui(ui, cx);
            });
        });
        ui.add_space(12.0);
    });
}

fn way_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    if cx.state.chat_problem.is_some() {
        super::chat_problem_ui(ui, cx);
        ui.add_space(8.0);
    }
    if cx.state.pull.is_some() {
        models::pull_ui(ui, cx);
        return;
    }
    match &cx.state.model {
        ModelState::Loading { path, .. } => {
            ui.spinner();
            ui.label(format!("Loading {}", models::name_of(path)));
        }
        ModelState::Ready(_) => {
            for question in QUESTIONS {
                let button = Button::new(question).wrap();
                if ui.add(button).clicked() {
                    cx.ask(Action::Send(question.to_owned()));
                }
            }
        }
        ModelState::Failed { path, problem } => {
            let (path, problem) = (path.clone(), problem.clone());
            let (again, open) = problem_ui(ui, &problem, |ui| {
                (ui.button("Try again").clicked(), ui.button("Open another model…").clicked())
            });
            if again {
                cx.ask(models::again_action(&path));
            }
            if open {
                cx.ask(Action::Run(Command::OpenModel));
            }
            ui.add_space(8.0);
            first_ui(ui, cx);
        }
        ModelState::Absent => first_ui(ui, cx),
    }
}

/// No model: the default one, a file, or the demonstration.
fn first_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let palette = tokens::palette(ui);
    let text = |text: &str| RichText::new(text).color(palette.on_accent);
    match cx.state.found_default.clone() {
        Some(path) => {
            let button = Button::new(text("Load SmolLM2")).fill(palette.accent);
            if ui.add(button).clicked() {
                cx.ask(Action::LoadModel(path));
            }
            ui.weak("It is on this machine already");
        }
        None => {
            let button = Button::new(text("Download SmolLM2 (94 MiB)")).fill(palette.accent);
            if ui.add(button).clicked() {
                cx.ask(Action::Pull(coppice::hub::DEFAULT_MODEL.into()));
            }
            ui.weak("A small model under the Apache licence; it then runs without the network");
        }
    }
    ui.add_space(8.0);
    if ui.button("Open model file…").clicked() {
        cx.ask(Action::Run(Command::OpenModel));
    }
    if ui.button("Play the demonstration").clicked() {
        cx.ask(Action::Run(Command::PlayDemo));
    }
}
