//! A tree as an SVG file, as it is on screen, on light ground.

use std::fmt::Write as _;

use coppice::spec::trace::TraceRound;
use egui::{Color32, Pos2};

use super::{
    look::{Look, RADIUS, diamond},
    picture::{EdgeKind, Picture, Spot, bends},
};
use crate::tokens::LIGHT;

/// The tree of a round as an SVG document.
pub fn svg(round: &TraceRound) -> String {
    let picture = Picture::of(round);
    let (w, h) = (picture.size.x, picture.size.y);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} \
         {h}\" font-family=\"monospace\" font-size=\"11.5\">\n<rect width=\"100%\" \
         height=\"100%\" fill=\"{}\"/>\n",
        hex(LIGHT.background)
    );
    for edge in &picture.edges {
        let color = match edge.kind {
            EdgeKind::Kept => LIGHT.accepted,
            EdgeKind::Other => LIGHT.outline,
            EdgeKind::Bonus => LIGHT.bonus,
        };
        let [a, b, c, d] = bends(edge.ends).map(point);
        let _ = writeln!(
            out,
            "<path d=\"M{a} C{b} {c} {d}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{:.2}\"/>",
            hex(color),
            edge.width
        );
    }
    picture.spots.iter().for_each(|spot| write_spot(&mut out, spot));
    out.push_str("</svg>\n");
    out
}

fn write_spot(out: &mut String, spot: &Spot) {
    let (x, y, color) = (spot.at.x, spot.at.y, hex(spot.look.color(&LIGHT)));
    let half = RADIUS * 0.85;
    let shape = match spot.look {
        Look::Root | Look::Accepted => {
            format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{RADIUS}\" fill=\"{color}\"/>")
        }
        Look::Unreached => format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{}\" fill=\"none\" stroke=\"{color}\"/>",
            RADIUS * 0.75
        ),
        Look::Rejected | Look::Outrun => {
            let mut path =
                format!("M{:.1},{:.1} h{w} v{w} h-{w} z", x - half, y - half, w = half * 2.0);
            if spot.look == Look::Rejected {
                let arm = half - 2.5;
                let _ = write!(
                    path,
                    " M{:.1},{:.1} l{w},{w} m0,-{w} l-{w},{w}",
                    x - arm,
                    y - arm,
                    w = arm * 2.0
                );
            }
            format!("<path d=\"{path}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"1.5\"/>")
        }
        Look::Bonus => {
            let corners = diamond(RADIUS).map(|(dx, dy)| point(spot.at + egui::vec2(dx, dy)));
            format!("<polygon points=\"{}\" fill=\"{color}\"/>", corners.join(" "))
        }
    };
    let ink = if spot.look == Look::Unreached { LIGHT.weak } else { LIGHT.text };
    let line = if spot.look == Look::Rejected { " text-decoration=\"line-through\"" } else { "" };
    let _ = writeln!(
        out,
        "<g><title>{}</title>{shape}<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{}\" \
         xml:space=\"preserve\"{line}>{}</text></g>",
        escape(&spot.name),
        x + RADIUS + 4.0,
        y + 4.0,
        hex(ink),
        escape(&spot.text)
    );
}

fn point(at: Pos2) -> String {
    format!("{:.1},{:.1}", at.x, at.y)
}

fn hex(color: Color32) -> String {
    format!("#{:02x}{:02x}{:02x}", color.r(), color.g(), color.b())
}

/// Text as XML takes it: tokens can hold anything, and control characters are no XML at all.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_is_drawn_once_and_tokens_cannot_break_the_file() {
        let mut round = (*crate::demo::trace().rounds[0]).clone();
        round.texts[1] = "</svg>&\"\u{0}\u{1b}".into();
        let file = svg(&round);
        assert_eq!(file.matches("<title>").count(), round.outcome.nodes.len() + 1, "and the bonus");
        assert_eq!(file.matches("</svg>").count(), 1);
        assert!(file.contains("&lt;/svg&gt;&amp;"), "{file}");
        assert!(!file.contains('\u{0}') && !file.contains('\u{1b}'));
        let rejected =
            round.outcome.nodes.iter().filter(|node| Look::of(node.verdict) == Look::Rejected);
        assert_eq!(file.matches("line-through").count(), rejected.count());
    }
}
