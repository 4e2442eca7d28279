//! How tokens are chosen, and the system prompt of the conversation.

use coppice::sample::SamplerParams;
use egui::{ComboBox, DragValue, Response, ScrollArea, Slider, TextEdit, Ui, WidgetInfo};

use crate::{
    settings::{Preset, Sampling},
    state::{Action, Cx},
};

pub(super) fn sampling_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        system_ui(ui, cx);
        ui.separator();
        presets_ui(ui, cx);
        ui.add_space(4.0);
        let sampling = &mut cx.state.settings.sampling;
        params_ui(ui, &mut sampling.params);
        rest_ui(ui, sampling);
    });
}

fn system_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.strong("System prompt of this chat");
    let system = &mut cx.state.conversation.chat.system;
    let field = TextEdit::multiline(system).desired_rows(3).desired_width(f32::INFINITY);
    let field = ui.add(field.hint_text("None"));
    field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, "System prompt"));
    let new_default = (*system != cx.state.settings.system).then(|| system.clone());
    if field.lost_focus() {
        cx.ask(Action::SaveChat);
    }
    if let Some(system) = new_default
        && ui.button("Use for new chats").clicked()
    {
        cx.state.settings.system = system;
        cx.state.notify("New chats begin with this system prompt", None);
    }
}

fn presets_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    ui.strong("Sampling");
    let settings = &mut cx.state.settings;
    let built_in = Preset::built_in();
    let known: Vec<Preset> = built_in.into_iter().chain(settings.presets.clone()).collect();
    let current = known.iter().find(|preset| preset.sampling == settings.sampling);
    let name = current.map_or_else(|| "Custom".to_owned(), |preset| preset.name.clone());
    let own = settings.presets.iter().position(|preset| preset.name == name);
    ui.horizontal(|ui| {
        let mut chosen = None;
        let combo = ComboBox::from_id_salt("preset").selected_text(&name).show_ui(ui, |ui| {
            for preset in &known {
                if ui.selectable_label(preset.name == name, &preset.name).clicked() {
                    chosen = Some(preset.sampling.clone());
                }
            }
        });
        combo.response.widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, "Preset"));
        if name == "Custom" && ui.button("Keep as preset").clicked() {
            let name = (1..).map(|n| format!("My preset {n}"));
            let free = |name: &String| settings.presets.iter().all(|preset| preset.name != *name);
            let name = name.into_iter().find(free).expect("there are more numbers than presets");
            settings.presets.push(Preset { name, sampling: settings.sampling.clone() });
        }
        if let Some(own) = own
            && ui.button("Forget").on_hover_text("Remove this preset of yours").clicked()
        {
            settings.presets.remove(own);
        }
        if let Some(chosen) = chosen {
            settings.sampling = chosen;
        }
    });
}

fn params_ui(ui: &mut Ui, params: &mut SamplerParams) {
    let slider = |ui: &mut Ui, name: &str, hint: &str, slider: Slider<'_>| -> Response {
        let label = ui.label(name).on_hover_text(hint);
        ui.spacing_mut().slider_width = (ui.available_width() - 70.0).max(60.0);
        ui.add(slider).labelled_by(label.id).on_hover_text(hint)
    };
    slider(
        ui,
        "Temperature",
        "0 takes the likeliest token each time; higher is more varied",
        Slider::new(&mut params.temperature, 0.0..=2.0).step_by(0.05),
    );
    slider(
        ui,
        "Top-p",
        "Keeps the fewest likeliest tokens with this much probability; 1 keeps all",
        Slider::new(&mut params.top_p, 0.0..=1.0).step_by(0.01),
    );
    slider(
        ui,
        "Min-p",
        "Keeps tokens at least this fraction as likely as the likeliest; 0 keeps all",
        Slider::new(&mut params.min_p, 0.0..=1.0).step_by(0.01),
    );
    slider(
        ui,
        "Top-k",
        "Keeps so many likeliest tokens; 0 keeps all",
        Slider::new(&mut params.top_k, 0..=200),
    );
    slider(
        ui,
        "Repeat penalty",
        "Makes recent tokens less likely; 1 leaves them alone",
        Slider::new(&mut params.repeat_penalty, 1.0..=2.0).step_by(0.01),
    );
    egui::CollapsingHeader::new("More").show(ui, |ui| {
        slider(
            ui,
            "Typical",
            "Keeps tokens whose surprise is nearest the average; 1 keeps all",
            Slider::new(&mut params.typical_p, 0.0..=1.0).step_by(0.01),
        );
        slider(
            ui,
            "Presence penalty",
            "Taken from the logits of recent tokens",
            Slider::new(&mut params.presence_penalty, -2.0..=2.0).step_by(0.05),
        );
        slider(
            ui,
            "Frequency penalty",
            "Taken from the logits of recent tokens once for each time",
            Slider::new(&mut params.frequency_penalty, -2.0..=2.0).step_by(0.05),
        );
        slider(
            ui,
            "Recent tokens",
            "How many of the last tokens the penalties look at",
            Slider::new(&mut params.penalty_last_n, 0..=1024),
        );
    });
}

fn rest_ui(ui: &mut Ui, sampling: &mut Sampling) {
    ui.checkbox(&mut sampling.fixed_seed, "Fixed seed")
        .on_hover_text("The same question gets the same answer");
    if sampling.fixed_seed {
        let label = ui.label("Seed");
        ui.add(DragValue::new(&mut sampling.params.seed)).labelled_by(label.id);
    }
    let label = ui.label("Longest answer");
    let tokens = DragValue::new(&mut sampling.max_tokens).range(0..=1 << 20).speed(8.0);
    let tokens = tokens.custom_formatter(|n, _| match n as usize {
        0 => "as the context holds".into(),
        n => format!("{n} tokens"),
    });
    ui.add(tokens).labelled_by(label.id);
    let label = ui.label("Stop texts, one a line");
    let stop = TextEdit::multiline(&mut sampling.stop).desired_rows(1).desired_width(f32::INFINITY);
    ui.add(stop).labelled_by(label.id);
}
