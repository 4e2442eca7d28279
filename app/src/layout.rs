//! Views, panes and their tiles.
//!
//! A view is a task (talk, explore, look at devices); each has dockable tiles of its own that are
//! remembered, so that rearranging one task leaves the others alone.

use egui_tiles::{Container, Linear, LinearDir, Tile, Tiles, Tree};
use serde::{Deserialize, Serialize};

/// What the window is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    /// Conversation alone.
    #[default]
    Chat,
    /// Conversation beside the candidate trees.
    Explore,
    /// Adapters and the op table.
    Devices,
}

impl View {
    /// All, in the order of the switch.
    pub const ALL: [Self; 3] = [Self::Chat, Self::Explore, Self::Devices];

    /// Text of the switch.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Chat => "Chat",
            Self::Explore => "Explore",
            Self::Devices => "Devices",
        }
    }
}

/// A dockable panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pane {
    /// The conversation.
    Chat,
    /// The candidate tree of a round.
    Tree,
    /// Rates of acceptance.
    Acceptance,
    /// Predicted against observed.
    Calibration,
    /// Where the time goes.
    Speed,
    /// Recorded rounds with another tree or rule.
    WhatIf,
    /// Two ways to draft, measured.
    Compare,
    /// Pages of the key/value cache.
    Cache,
    /// Adapters and the op table.
    Devices,
}

impl Pane {
    /// Title of the tab.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Chat => "Chat",
            Self::Tree => "Tree",
            Self::Acceptance => "Acceptance",
            Self::Calibration => "Calibration",
            Self::Speed => "Speed",
            Self::WhatIf => "What if",
            Self::Compare => "Side by side",
            Self::Cache => "Cache",
            Self::Devices => "Devices",
        }
    }
}

/// Tiles of every view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layouts {
    /// Of [`View::Chat`].
    pub chat: Tree<Pane>,
    /// Of [`View::Explore`].
    pub explore: Tree<Pane>,
    /// Of [`View::Devices`].
    pub devices: Tree<Pane>,
}

impl Default for Layouts {
    fn default() -> Self {
        Self {
            chat: Tree::new_tabs(egui::Id::unique("tiles-chat"), vec![Pane::Chat]),
            explore: explore(),
            devices: Tree::new_tabs(egui::Id::unique("tiles-devices"), vec![Pane::Devices]),
        }
    }
}

impl Layouts {
    /// Tiles of a view.
    pub fn of(&mut self, view: View) -> &mut Tree<Pane> {
        match view {
            View::Chat => &mut self.chat,
            View::Explore => &mut self.explore,
            View::Devices => &mut self.devices,
        }
    }

    /// Gives a view that lacks one of its panes, as layouts of older versions do, its first layout.
    pub fn complete(&mut self) {
        let mut whole = Self::default();
        for view in View::ALL {
            let has = |tree: &Tree<Pane>, wanted: &Pane| {
                tree.tiles.tiles().any(|tile| matches!(tile, Tile::Pane(pane) if pane == wanted))
            };
            let wanted = whole.of(view).clone();
            let ours = self.of(view);
            let mut panes = wanted.tiles.tiles().filter_map(|tile| match tile {
                Tile::Pane(pane) => Some(pane),
                Tile::Container(_) => None,
            });
            if panes.any(|pane| !has(ours, pane)) {
                *ours = wanted.clone();
            }
        }
    }

    /// Brings a pane of a view to the front.
    pub fn show(&mut self, view: View, pane: Pane) {
        self.of(view).make_active(|_, tile| matches!(tile, Tile::Pane(there) if *there == pane));
    }

    /// Gives a view its first layout back.
    pub fn reset(&mut self, view: View) {
        let mut fresh = Self::default();
        std::mem::swap(self.of(view), fresh.of(view));
    }
}

/// Figures below the tree, one tab each.
const FIGURES: [Pane; 6] =
    [Pane::Acceptance, Pane::Calibration, Pane::Speed, Pane::WhatIf, Pane::Compare, Pane::Cache];

/// Chat on the left, the tree above the figures on the right.
fn explore() -> Tree<Pane> {
    let mut tiles = Tiles::default();
    let chat = tiles.insert_pane(Pane::Chat);
    let tree = tiles.insert_pane(Pane::Tree);
    let figures = FIGURES.map(|pane| tiles.insert_pane(pane)).to_vec();
    let figures = tiles.insert_tab_tile(figures);
    let mut right = Linear::new(LinearDir::Vertical, vec![tree, figures]);
    right.shares.set_share(tree, 1.5);
    right.shares.set_share(figures, 1.0);
    let right = tiles.insert_container(Container::Linear(right));
    let mut root = Linear::new(LinearDir::Horizontal, vec![chat, right]);
    root.shares.set_share(chat, 0.8);
    root.shares.set_share(right, 1.2);
    let root = tiles.insert_container(Container::Linear(root));
    Tree::new(egui::Id::unique("tiles-explore"), root, tiles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_survive_being_written_and_read() {
        let layouts = Layouts::default();
        let text = serde_json::to_string(&layouts).expect("layouts are plain data");
        let read: Layouts = serde_json::from_str(&text).expect("it was just written");
        assert_eq!(read, layouts);
    }

    #[test]
    fn layouts_that_lack_a_pane_begin_anew_and_others_stay() {
        let mut layouts = Layouts::default();
        let old = Tree::new_tabs(egui::Id::unique("old"), vec![Pane::Chat, Pane::Tree]);
        layouts.explore = old;
        let own = Tree::new_horizontal(egui::Id::unique("own"), vec![Pane::Devices]);
        layouts.devices = own.clone();
        layouts.complete();
        assert_eq!(layouts.explore, Layouts::default().explore);
        assert_eq!(layouts.devices, own, "what the user arranged and is whole");
    }
}
