//! Rounds as files for other programs: tables as CSV, trees as SVG and PNG.

use std::{fmt::Write as _, path::Path};

use coppice::spec::{Verdict, trace::TraceRound};

use crate::{
    headless::{self, Canvas},
    problem::Problem,
    trace_log::TraceLog,
    tree_view,
};

/// Pixels a point of exported pictures.
const SCALE: f32 = 2.0;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export {
    /// The tree of the round on screen, as vectors.
    TreeSvg,
    /// The tree of the round on screen, as pixels.
    TreePng,
    /// A line a round, as CSV.
    Rounds,
    /// A line a node of all rounds, as CSV.
    Nodes,
}

impl Export {
    /// Extension of its files.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::TreeSvg => "svg",
            Self::TreePng => "png",
            Self::Rounds | Self::Nodes => "csv",
        }
    }

    /// Writes a file. `shown` is the round on screen.
    ///
    /// # Errors
    /// A log without rounds, no device to draw a PNG with, and what the disk says; an older file is
    /// then as it was.
    pub fn write(self, log: &TraceLog, shown: usize, path: &Path) -> Result<(), Problem> {
        let Some(round) = log.rounds.get(shown) else {
            return Err(Problem::new("there are no rounds to export yet", "ask something first"));
        };
        let partial = path.with_extension("partial");
        let written = match self {
            Self::TreePng => png(round, &partial).map_err(|error| format!("{error:#}")),
            Self::TreeSvg => text(&partial, &tree_view::svg(round)),
            Self::Rounds => text(&partial, &rounds_csv(log)),
            Self::Nodes => text(&partial, &nodes_csv(log)),
        };
        let renamed = || std::fs::rename(&partial, path).map_err(|error| error.to_string());
        written.and_then(|()| renamed()).map_err(|error| {
            Problem::new(
                format!("cannot write {}: {error}", path.display()),
                "choose another folder or format; the rounds are still here",
            )
        })
    }
}

fn text(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| error.to_string())
}

/// On a device of its own, so that the window's goes on drawing.
fn png(round: &TraceRound, path: &Path) -> anyhow::Result<()> {
    let ctx = headless::context();
    crate::tokens::install(&ctx);
    ctx.set_theme(egui::Theme::Light);
    let points = tree_view::still_size(round);
    headless::picture(&ctx, Canvas { points, scale: SCALE }, path, |ui| {
        tree_view::still_ui(ui, round);
    })
}

/// A line a round.
fn rounds_csv(log: &TraceLog) -> String {
    let mut out = String::from(
        "index,answer,round,prefix,method,drafted,accepted,tokens,draft_ms,verify_ms,commit_ms,\
         host_ms,added\n",
    );
    for (n, round) in log.rounds.iter().enumerate() {
        let (outcome, times) = (&round.outcome, &round.outcome.times);
        let _ = writeln!(
            out,
            "{},{},{},{},{},{},{},{},{:.4},{:.4},{:.4},{:.4},{}",
            n + 1,
            round.answer,
            outcome.round,
            outcome.prefix,
            outcome.method.name(),
            outcome.drafted(),
            outcome.accepted(),
            outcome.tokens(),
            times.draft_ms,
            times.verify_ms,
            times.commit_ms,
            times.host_ms,
            quoted(&round.added_text())
        );
    }
    out
}

/// A line a node.
fn nodes_csv(log: &TraceLog) -> String {
    let mut out = String::from(
        "index,answer,round,node,parent,depth,source,rank,token,text,draft_p,target_p,entropy,\
         threshold,verdict,wanted\n",
    );
    for (n, round) in log.rounds.iter().enumerate() {
        for (at, node) in round.outcome.nodes.iter().enumerate() {
            let (verdict, wanted) = match node.verdict {
                Verdict::Root => ("root", None),
                Verdict::Accepted => ("accepted", None),
                Verdict::Rejected { wanted } => ("rejected", Some(wanted)),
                Verdict::BelowThreshold => ("below_threshold", None),
                Verdict::Outrun => ("outrun", None),
                Verdict::Unreached => ("unreached", None),
            };
            let _ = writeln!(
                out,
                "{},{},{},{at},{},{},{},{},{},{},{},{},{},{},{verdict},{}",
                n + 1,
                round.answer,
                round.outcome.round,
                known(node.parent),
                node.depth,
                tree_view::source_name(node.source),
                node.rank,
                node.token,
                quoted(&round.texts[at]),
                known(node.draft_p),
                known(node.target_p),
                known(node.entropy),
                known(node.threshold),
                known(wanted)
            );
        }
    }
    out
}

/// A value, or nothing where it is not known.
fn known(value: Option<impl std::fmt::Display>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A text as RFC 4180 has it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields of CSV as RFC 4180 has it.
    fn parse(text: &str) -> Vec<Vec<String>> {
        let (mut lines, mut line, mut field, mut inside) =
            (Vec::new(), Vec::new(), String::new(), false);
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if inside && chars.peek() == Some(&'"') => {
                    chars.next();
                    field.push('"');
                }
                '"' => inside ^= true,
                ',' if !inside => line.push(std::mem::take(&mut field)),
                '\n' if !inside => {
                    line.push(std::mem::take(&mut field));
                    lines.push(std::mem::take(&mut line));
                }
                c => field.push(c),
            }
        }
        lines
    }

    #[test]
    fn tables_have_a_line_for_each_round_and_node_with_all_texts_intact() {
        let mut log = crate::demo::trace();
        let mut odd = (*log.rounds[0]).clone();
        odd.texts[2] = "a \"quoted\",\nbroken text".into();
        log.rounds[0] = odd.into();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let table = |export: Export| {
            let path = folder.path().join("table.csv");
            export.write(&log, 0, &path).expect("writable");
            parse(&std::fs::read_to_string(&path).expect("readable"))
        };
        let rounds = table(Export::Rounds);
        assert_eq!(rounds.len(), log.rounds.len() + 1);
        let tokens: u64 =
            rounds[1..].iter().map(|line| line[7].parse::<u64>().expect("a number")).sum();
        assert_eq!(tokens, log.stats.tokens);
        let nodes = table(Export::Nodes);
        let all: usize = log.rounds.iter().map(|round| round.outcome.nodes.len()).sum();
        assert_eq!(nodes.len(), all + 1);
        assert!(nodes.iter().all(|line| line.len() == nodes[0].len()));
        assert_eq!(nodes[3][9], "a \"quoted\",\nbroken text");
        let accepted = nodes.iter().filter(|line| line[14] == "accepted").count();
        assert_eq!(accepted as u64, log.stats.accepted);
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let log = crate::demo::trace();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let nowhere = folder.path().join("no/such/tree.svg");
        let problem = Export::TreeSvg.write(&log, 0, &nowhere).expect_err("there is no folder");
        assert!(problem.what.contains("tree.svg"), "{problem}");
        let none = Export::Rounds.write(&TraceLog::default(), 0, &nowhere).expect_err("no rounds");
        assert!(none.what.contains("no rounds"), "{none}");
        let path = folder.path().join("tree.svg");
        std::fs::write(&path, "old").expect("writable");
        std::fs::create_dir(path.with_extension("partial")).expect("writable");
        assert!(Export::TreeSvg.write(&log, 0, &path).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "old");
    }
}
