//! Pictures as SVG text: trees of rounds, bar charts, line charts.
//!
//! Own small code: a plotting library would bring a font stack and still not draw a tree of tokens.
//! A picture is plain data first (`Tree`, `BarChart`, `LineChart`) and one function makes text of
//! it, so that the same data may be painted elsewhere. Widths of text are estimates on the wide
//! side, as the viewer picks the font. Colours are those of Okabe and Ito, which colour-blind
//! readers tell apart, and never the only carrier of a meaning.

mod axis;
mod bars;
mod lines;
mod measure;
mod round;
mod svg;
mod tree;

pub use bars::{BarChart, BarSeries};
pub use lines::{LineChart, LineSeries};
pub use round::round_tree;
pub use tree::{State, Tree, TreeNode};

/// Ink of texts and axes.
const INK: &str = "#1f2328";
/// Ink of what matters less.
const FAINT_INK: &str = "#6b7280";
/// Grid lines.
const GRID: &str = "#e3e6ea";
/// Background.
const PAPER: &str = "#ffffff";
/// Colours of series, in order.
const SERIES: [&str; 7] =
    ["#9aa1ab", "#0072b2", "#d99400", "#009e73", "#cc79a7", "#d55e00", "#56b4e9"];
/// Fonts of labels.
const SANS: &str = "system-ui, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif";
/// Fonts of tokens.
const MONO: &str = "ui-monospace, 'SF Mono', Consolas, 'DejaVu Sans Mono', Menlo, monospace";

#[cfg(test)]
mod tests;
