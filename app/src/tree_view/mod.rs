//! The explorer: which round is shown, and its tree.

use egui::Ui;

use crate::state::Cx;

/// Where the explorer is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explorer {
    /// The round on screen; the newest one while following.
    round: Option<usize>,
    /// The round that the pointer is over in the chat.
    pub hovered: Option<usize>,
}

impl Explorer {
    /// Shows a round and stops following.
    pub fn show(&mut self, round: usize) {
        self.round = Some(round);
    }

    /// Shows the newest round, whichever that is.
    pub fn follow(&mut self) {
        self.round = None;
    }

    /// The round on screen, of so many.
    pub fn round(&self, rounds: usize) -> Option<usize> {
        let newest = rounds.checked_sub(1)?;
        Some(self.round.map_or(newest, |round| round.min(newest)))
    }
}

/// Draws the tree of the round on screen.
pub fn tree_ui(ui: &mut Ui, cx: &mut Cx<'_>) {
    let trace = cx.state.trace();
    match cx.state.explorer.round(trace.rounds.len()) {
        Some(n) => {
            let round = &trace.rounds[n];
            ui.label(format!(
                "Round {} of {}: {} of {} candidates accepted",
                n + 1,
                trace.rounds.len(),
                round.outcome.accepted(),
                round.outcome.drafted()
            ));
        }
        None => crate::panels::no_rounds_ui(ui, cx),
    }
}
