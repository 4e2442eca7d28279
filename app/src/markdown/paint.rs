//! Blocks as widgets.

use std::collections::HashMap;

use egui::{
    Align, Color32, CornerRadius, FontFamily, FontId, Frame, Label, Layout, Margin, RichText,
    ScrollArea, Sense, Stroke, TextFormat, TextStyle, Ui, WidgetInfo, text::LayoutJob,
};

use super::{Block, Span, highlight::highlight, parse};
use crate::{
    history::MessageId,
    tokens::{self, Palette},
};

/// Parsed messages.
#[derive(Debug, Default)]
pub struct Cache {
    blocks: HashMap<MessageId, (String, Vec<Block>)>,
}

impl Cache {
    /// Blocks of a message's text, parsed anew only if it changed.
    pub fn blocks(&mut self, id: MessageId, text: &str) -> &[Block] {
        const MOST: usize = 2000;
        if self.blocks.len() > MOST {
            self.blocks.clear();
        }
        let entry = self.blocks.entry(id).or_default();
        if entry.0 != text {
            *entry = (text.to_owned(), parse(text));
        }
        &entry.1
    }
}

/// Draws blocks below each other.
pub fn blocks_ui(ui: &mut Ui, blocks: &[Block]) {
    let palette = tokens::palette(ui);
    for (n, block) in blocks.iter().enumerate() {
        if n > 0 {
            ui.add_space(4.0);
        }
        ui.push_id(n, |ui| block_ui(ui, block, &palette));
    }
}

fn block_ui(ui: &mut Ui, block: &Block, palette: &Palette) {
    match block {
        Block::Paragraph(spans) => spans_ui(ui, spans, tokens::BODY, palette),
        Block::Heading(level, spans) => {
            let size = [22.0, 19.0, 17.0, 15.5, 14.5, 14.0][usize::from(*level - 1).min(5)];
            ui.add_space(4.0);
            let bold: Vec<Span> = spans
                .iter()
                .cloned()
                .map(|mut span| {
                    span.face.strong = true;
                    span
                })
                .collect();
            spans_ui(ui, &bold, size, palette);
        }
        Block::Code { language, text } => code_ui(ui, language, text, palette),
        Block::List { first, items } => list_ui(ui, *first, items, palette),
        Block::Quote(inner) => quote_ui(ui, inner, palette),
        Block::Table { columns, rows } => table_ui(ui, columns, rows, palette),
        Block::Rule => {
            ui.separator();
        }
    }
}

fn format(span: &Span, size: f32, palette: &Palette) -> TextFormat {
    let family = if span.face.code { FontFamily::Monospace } else { FontFamily::Proportional };
    let size = if span.face.code { size - 1.0 } else { size };
    // The bundled font has one weight: strong text is set apart by full contrast and emphasis by
    // slant.
    let color = if span.face.strong { strong(palette) } else { palette.text };
    TextFormat {
        font_id: FontId::new(size, family),
        color,
        italics: span.face.emphasis,
        background: if span.face.code { palette.well } else { Color32::TRANSPARENT },
        strikethrough: if span.face.strike { Stroke::new(1.0, color) } else { Stroke::NONE },
        underline: Stroke::NONE,
        ..TextFormat::default()
    }
}

fn strong(palette: &Palette) -> Color32 {
    palette.text.lerp_to_gamma(palette.accent, 0.45)
}

fn spans_ui(ui: &mut Ui, spans: &[Span], size: f32, palette: &Palette) {
    if spans.iter().all(|span| span.link.is_none()) {
        let mut job = LayoutJob::default();
        for span in spans {
            job.append(&span.text, 0.0, format(span, size, palette));
        }
        ui.add(Label::new(job).wrap());
        return;
    }
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        for span in spans {
            match &span.link {
                Some(address) => {
                    let text = RichText::new(&span.text).size(size);
                    ui.hyperlink_to(text, address).on_hover_text(address);
                }
                None => {
                    let job =
                        LayoutJob::single_section(span.text.clone(), format(span, size, palette));
                    ui.add(Label::new(job).wrap());
                }
            }
        }
    });
}

fn code_ui(ui: &mut Ui, language: &str, text: &str, palette: &Palette) {
    let font = TextStyle::Monospace.resolve(ui.style());
    Frame::new()
        .fill(palette.well)
        .stroke(Stroke::new(1.0, palette.outline))
        .corner_radius(CornerRadius::same(tokens::RADIUS_SMALL))
        .inner_margin(Margin::same(8))
        .show(ui, |ui| {
            ui.set_width(ui.available_width());
            ui.horizontal(|ui| {
                let name = if language.is_empty() { "text" } else { language };
                ui.label(RichText::new(name).size(tokens::SMALL).color(palette.weak));
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    let copy = ui.small_button(RichText::new("Copy").size(tokens::SMALL));
                    copy.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, "Copy code"));
                    if copy.on_hover_text("Copy this code").clicked() {
                        ui.copy_text(text.to_owned());
                    }
                });
            });
            ScrollArea::horizontal().auto_shrink([false, true]).show(ui, |ui| {
                ui.add(Label::new(highlight(text, language, &font, palette)).extend());
            });
        });
}

fn list_ui(
    ui: &mut Ui,
    first: Option<u64>,
    items: &[(Option<bool>, Vec<Block>)],
    palette: &Palette,
) {
    for (n, (task, blocks)) in items.iter().enumerate() {
        ui.horizontal_top(|ui| {
            let mark = match (task, first) {
                (Some(true), _) => "■".to_owned(),
                (Some(false), _) => "□".to_owned(),
                (None, Some(first)) => format!("{}.", first.saturating_add(n as u64)),
                (None, None) => "•".to_owned(),
            };
            let width = if first.is_some() { 22.0 } else { 12.0 };
            ui.allocate_ui_with_layout(
                egui::vec2(width, tokens::BODY + 4.0),
                Layout::right_to_left(Align::TOP),
                |ui| ui.label(RichText::new(mark).color(palette.weak)),
            );
            ui.vertical(|ui| {
                ui.set_width(ui.available_width());
                ui.push_id(n, |ui| blocks_ui(ui, blocks));
            });
        });
    }
}

fn quote_ui(ui: &mut Ui, inner: &[Block], palette: &Palette) {
    let shown = Frame::new().inner_margin(Margin { left: 12, ..Margin::ZERO }).show(ui, |ui| {
        ui.set_width(ui.available_width());
        blocks_ui(ui, inner);
    });
    let rect = shown.response.rect;
    let line = Stroke::new(3.0, palette.outline);
    ui.painter().vline(rect.left() + 2.0, rect.y_range(), line);
}

fn table_ui(
    ui: &mut Ui,
    columns: &[pulldown_cmark::Alignment],
    rows: &[Vec<Vec<Span>>],
    palette: &Palette,
) {
    ScrollArea::horizontal().auto_shrink([false, true]).show(ui, |ui| {
        egui::Grid::new("table").striped(true).spacing([16.0, 6.0]).show(ui, |ui| {
            for (n, row) in rows.iter().enumerate() {
                for (cell, alignment) in row.iter().zip(columns) {
                    let mut job = LayoutJob::default();
                    for span in cell {
                        let mut span = span.clone();
                        span.face.strong |= n == 0;
                        job.append(&span.text, 0.0, format(&span, tokens::BODY, palette));
                    }
                    let layout = match alignment {
                        pulldown_cmark::Alignment::Right => Layout::right_to_left(Align::Center),
                        _ => Layout::left_to_right(Align::Center),
                    };
                    ui.with_layout(layout, |ui| {
                        ui.add(Label::new(job).extend().sense(Sense::hover()))
                    });
                }
                ui.end_row();
            }
        });
    });
}
