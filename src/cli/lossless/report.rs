//! The table of a run.

use serde::Serialize;

use super::{
    drafts::Drafts,
    log::{Entry, Header, Log},
    settings::Setting,
};

/// One kind of drafts under one setting.
#[derive(Serialize)]
struct Cell {
    setting: &'static str,
    drafts: &'static str,
    /// Prompts answered.
    answered: usize,
    /// Those whose ids are plain decoding's.
    equal: usize,
    /// Bonus included.
    tokens_a_round: f64,
    /// Prompts that differ, with the first token that does, both from 0.
    differ: Vec<(usize, usize)>,
}

#[derive(Serialize)]
pub(super) struct Report {
    schema: u32,
    model: String,
    device: String,
    prompts: usize,
    max_tokens: usize,
    seed: u64,
    tree: usize,
    lossless: bool,
    /// By kind of drafts, then by setting.
    cells: Vec<Cell>,
    #[serde(skip)]
    settings: Vec<&'static str>,
}

impl Report {
    pub(super) fn new(
        header: &Header,
        prompts: usize,
        settings: &[Setting],
        kinds: &[Drafts],
        log: &Log,
    ) -> Self {
        let mut cells = Vec::new();
        for kind in kinds {
            for setting in settings {
                let outcome = |at| log.outcome(setting.name, kind.name(), at);
                let answers: Vec<&Entry> = (0..prompts).filter_map(outcome).collect();
                let rounds: usize = answers.iter().map(|entry| entry.rounds).sum();
                let accepted: usize = answers.iter().map(|entry| entry.accepted).sum();
                let differ: Vec<(usize, usize)> = answers
                    .iter()
                    .filter_map(|entry| Some((entry.prompt, entry.differs?)))
                    .collect();
                cells.push(Cell {
                    setting: setting.name,
                    drafts: kind.name(),
                    answered: answers.len(),
                    equal: answers.len() - differ.len(),
                    tokens_a_round: 1.0 + accepted as f64 / rounds.max(1) as f64,
                    differ,
                });
            }
        }
        Self {
            schema: 1,
            model: header.model.clone(),
            device: header.device.clone(),
            prompts,
            max_tokens: header.max_tokens,
            seed: header.seed,
            tree: header.tree,
            lossless: cells.iter().all(|cell| cell.differ.is_empty()),
            cells,
            settings: settings.iter().map(|setting| setting.name).collect(),
        }
    }

    /// Whether all answers were plain decoding's.
    pub(super) fn is_lossless(&self) -> bool {
        self.lossless
    }

    pub(super) fn json(&self) -> String {
        serde_json::to_string(self).expect("numbers under names are JSON") + "\n"
    }

    /// A row for each kind of drafts, a column for each setting.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "{} on {}: {} prompts, {} tokens each, seed {}, trees of {}. Prompts whose ids are plain \
             decoding's, and tokens a round.\n\n| drafts | {} |\n|---|{}\n",
            self.model,
            self.device,
            self.prompts,
            self.max_tokens,
            self.seed,
            self.tree,
            self.settings.join(" | "),
            "---|".repeat(self.settings.len())
        );
        for row in self.cells.chunks(self.settings.len().max(1)) {
            let cells = row.iter().map(|cell| {
                format!("{} of {}, {:.2}", cell.equal, cell.answered, cell.tokens_a_round)
            });
            let cells: Vec<String> = cells.collect();
            text.push_str(&format!("| {} | {} |\n", row[0].drafts, cells.join(" | ")));
        }
        for cell in &self.cells {
            for (prompt, token) in &cell.differ {
                text.push_str(&format!(
                    "\nMISMATCH: {} at {}, prompt {prompt}, token {token}\n",
                    cell.drafts, cell.setting
                ));
            }
        }
        if self.lossless {
            text.push_str("\nEvery answer has the ids of plain decoding.\n");
        }
        text
    }
}
