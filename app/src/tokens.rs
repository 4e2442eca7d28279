//! Design tokens: the only file with literal colours, radii and sizes.
//!
//! Panels ask for a meaning ("accepted", "danger"), never for a colour, so that light and dark stay
//! in step. Every meaning of a node has a second cue besides its colour (shape, underline or stroke),
//! chosen where it is painted.

use egui::{
    Color32, Context, CornerRadius, FontDefinitions, FontFamily, FontId, Margin, Shadow, Stroke,
    Style, TextStyle, Theme, Visuals,
};

/// Corner radius of cards and bubbles.
pub const RADIUS: u8 = 8;
/// Corner radius of buttons and fields.
pub const RADIUS_SMALL: u8 = 5;
/// Gap between unrelated things.
pub const GAP: f32 = 12.0;
/// Widest column of text that reads well.
pub const READING_WIDTH: f32 = 760.0;
/// Size of running text at 100 %.
pub const BODY: f32 = 14.0;
/// Size of footnotes: figures below a message, hints.
pub const SMALL: f32 = 11.5;

/// Colours by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Palette {
    /// Behind panels.
    pub background: Color32,
    /// Behind cards, side bars and menus.
    pub surface: Color32,
    /// Behind text fields and code.
    pub well: Color32,
    /// Behind a message of the user.
    pub user: Color32,
    /// Borders and rules.
    pub outline: Color32,
    /// Running text.
    pub text: Color32,
    /// Secondary text; at least 4.5 : 1 on the background.
    pub weak: Color32,
    /// The one colour of emphasis: primary buttons, selection, links.
    pub accent: Color32,
    /// Text on the accent.
    pub on_accent: Color32,
    /// Behind selected text.
    pub selection: Color32,
    /// Something failed.
    pub danger: Color32,
    /// Something deserves care.
    pub warning: Color32,
    /// Candidate kept.
    pub accepted: Color32,
    /// Candidate tested and not kept.
    pub rejected: Color32,
    /// Token that the target put in place of a rejected one.
    pub corrected: Color32,
    /// Token that came free behind the kept path.
    pub bonus: Color32,
    /// Candidate not looked at yet, or never.
    pub pending: Color32,
    /// Keywords of code.
    pub keyword: Color32,
    /// Strings of code.
    pub string: Color32,
    /// Numbers and constants of code.
    pub number: Color32,
    /// Comments of code.
    pub comment: Color32,
    /// Names of functions and types in code.
    pub name: Color32,
    /// Series of plots, in order; distinct also to most colour-blind readers (Okabe and Ito).
    pub series: [Color32; 6],
}

const fn rgb(hex: u32) -> Color32 {
    Color32::from_rgb((hex >> 16) as u8, (hex >> 8) as u8, hex as u8)
}

/// Colours on dark ground.
pub const DARK: Palette = Palette {
    background: rgb(0x16_18_1d),
    surface: rgb(0x1d_20_26),
    well: rgb(0x11_13_17),
    user: rgb(0x25_2b_37),
    outline: rgb(0x33_38_42),
    text: rgb(0xe4_e6_ea),
    weak: rgb(0x9c_a3_af),
    accent: rgb(0x5b_9d_ff),
    on_accent: rgb(0x0b_12_20),
    selection: rgb(0x2b_4a_7d),
    danger: rgb(0xff_7b_72),
    warning: rgb(0xe3_b3_41),
    accepted: rgb(0x4a_c2_6b),
    rejected: rgb(0xff_7b_72),
    corrected: rgb(0xf0_9a_4a),
    bonus: rgb(0x5b_9d_ff),
    pending: rgb(0x80_88_95),
    keyword: rgb(0xc6_9b_f7),
    string: rgb(0x9e_d0_72),
    number: rgb(0xf0_b0_6a),
    comment: rgb(0x8b_93_a1),
    name: rgb(0x7d_c4_ff),
    series: [
        rgb(0x56_b4_e9),
        rgb(0xe6_9f_00),
        rgb(0x2f_c0_96),
        rgb(0xcc_79_a7),
        rgb(0xf0_e4_42),
        rgb(0xe8_7a_3a),
    ],
};

/// Colours on light ground.
pub const LIGHT: Palette = Palette {
    background: rgb(0xff_ff_ff),
    surface: rgb(0xf5_f6_f8),
    well: rgb(0xee_f0_f3),
    user: rgb(0xe9_f0_fb),
    outline: rgb(0xd5_d9_e0),
    text: rgb(0x1c_20_27),
    weak: rgb(0x5a_62_6e),
    accent: rgb(0x1f_62_d0),
    on_accent: rgb(0xff_ff_ff),
    selection: rgb(0xb9_d4_fb),
    danger: rgb(0xbd_25_1c),
    warning: rgb(0x8a_5a_00),
    accepted: rgb(0x18_78_33),
    rejected: rgb(0xbd_25_1c),
    corrected: rgb(0xb3_55_0a),
    bonus: rgb(0x1f_62_d0),
    pending: rgb(0x6c_74_80),
    keyword: rgb(0x7a_3e_b8),
    string: rgb(0x2f_72_1f),
    number: rgb(0xa3_50_0a),
    comment: rgb(0x60_68_74),
    name: rgb(0x10_5f_9e),
    series: [
        rgb(0x00_72_b2),
        rgb(0xb3_6b_00),
        rgb(0x00_80_5c),
        rgb(0xa8_4a_80),
        rgb(0x7a_70_00),
        rgb(0xc2_4a_00),
    ],
};

/// Colours of the theme that `ui` is drawn in.
pub fn palette(ui: &egui::Ui) -> Palette {
    if ui.visuals().dark_mode { DARK } else { LIGHT }
}

/// Frame of windows over the rest.
pub fn dialog(ui: &egui::Ui) -> egui::Frame {
    egui::Frame::popup(ui.style()).inner_margin(Margin::same(14))
}

/// Gives the context our fonts, and our styles for both themes.
pub fn install(ctx: &Context) {
    let mut fonts = FontDefinitions::default();
    // Arrows and shapes, which the proportional font lacks, whatever fonts the system has.
    fonts.families.entry(FontFamily::Proportional).or_default().push("Hack".into());
    ctx.set_fonts(fonts);
    for (theme, palette) in [(Theme::Dark, DARK), (Theme::Light, LIGHT)] {
        ctx.style_mut_of(theme, |style| apply(style, theme, &palette));
    }
}

fn apply(style: &mut Style, theme: Theme, palette: &Palette) {
    let proportional = |size| FontId::new(size, FontFamily::Proportional);
    style.text_styles = [
        (TextStyle::Heading, proportional(20.0)),
        (TextStyle::Body, proportional(BODY)),
        (TextStyle::Button, proportional(BODY)),
        (TextStyle::Small, proportional(SMALL)),
        (TextStyle::Monospace, FontId::new(13.0, FontFamily::Monospace)),
    ]
    .into();
    style.spacing.item_spacing = egui::vec2(8.0, 6.0);
    style.spacing.button_padding = egui::vec2(9.0, 4.0);
    style.spacing.interact_size.y = 24.0;
    style.spacing.menu_margin = Margin::same(6);
    style.spacing.scroll = egui::style::ScrollStyle::solid();
    style.spacing.scroll.bar_width = 8.0;
    style.visuals = visuals(theme, palette);
}

fn visuals(theme: Theme, palette: &Palette) -> Visuals {
    let mut visuals = theme.default_visuals();
    visuals.panel_fill = palette.background;
    visuals.window_fill = palette.surface;
    visuals.window_stroke = Stroke::new(1.0, palette.outline);
    visuals.window_corner_radius = CornerRadius::same(RADIUS);
    visuals.menu_corner_radius = CornerRadius::same(RADIUS);
    visuals.window_shadow = Shadow {
        offset: [0, 8],
        blur: 24,
        spread: 0,
        color: Color32::from_black_alpha(if theme == Theme::Dark { 110 } else { 45 }),
    };
    visuals.popup_shadow = visuals.window_shadow;
    visuals.extreme_bg_color = palette.well;
    visuals.faint_bg_color = palette.surface;
    visuals.code_bg_color = palette.well;
    visuals.hyperlink_color = palette.accent;
    visuals.error_fg_color = palette.danger;
    visuals.warn_fg_color = palette.warning;
    visuals.weak_text_color = Some(palette.weak);
    // A cursor that blinks draws two frames a second for ever.
    visuals.text_cursor.blink = false;
    visuals.selection.bg_fill = palette.selection;
    visuals.selection.stroke = Stroke::new(1.0, palette.text);
    let hovered = palette.surface.lerp_to_gamma(palette.text, 0.12);
    let pressed = palette.surface.lerp_to_gamma(palette.text, 0.2);
    let idle = palette.surface.lerp_to_gamma(palette.text, 0.05);
    let widgets = &mut visuals.widgets;
    for (state, fill, stroke) in [
        (&mut widgets.noninteractive, palette.surface, palette.outline),
        (&mut widgets.inactive, idle, palette.outline),
        (&mut widgets.hovered, hovered, palette.weak),
        (&mut widgets.active, pressed, palette.accent),
        (&mut widgets.open, hovered, palette.outline),
    ] {
        state.bg_fill = fill;
        state.weak_bg_fill = fill;
        state.bg_stroke = Stroke::new(1.0, stroke);
        state.fg_stroke = Stroke::new(1.0, palette.text);
        state.corner_radius = CornerRadius::same(RADIUS_SMALL);
        state.expansion = 0.0;
    }
    visuals
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance as WCAG 2 defines it.
    fn luminance(color: Color32) -> f64 {
        let channel = |byte: u8| {
            let v = f64::from(byte) / 255.0;
            if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * channel(color.r()) + 0.7152 * channel(color.g()) + 0.0722 * channel(color.b())
    }

    fn contrast(a: Color32, b: Color32) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn text_is_readable_on_every_ground() {
        for palette in [DARK, LIGHT] {
            for ground in [palette.background, palette.surface, palette.well, palette.user] {
                let texts = [
                    ("text", palette.text),
                    ("weak", palette.weak),
                    ("danger", palette.danger),
                    ("warning", palette.warning),
                    ("accent", palette.accent),
                    ("accepted", palette.accepted),
                ];
                for (name, color) in texts {
                    let ratio = contrast(color, ground);
                    assert!(ratio >= 4.5, "{name} on {ground:?}: {ratio:.2}");
                }
            }
            assert!(contrast(palette.on_accent, palette.accent) >= 4.5);
        }
    }

    #[test]
    fn code_is_readable_in_its_well() {
        for palette in [DARK, LIGHT] {
            let inks =
                [palette.keyword, palette.string, palette.number, palette.comment, palette.name];
            for ink in inks {
                assert!(contrast(ink, palette.well) >= 4.5, "{ink:?}");
            }
        }
    }
}
