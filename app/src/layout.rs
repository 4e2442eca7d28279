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

/// Chat on the left, the tree above the rates on the right.
fn explore() -> Tree<Pane> {
    let mut tiles = Tiles::default();
    let chat = tiles.insert_pane(Pane::Chat);
    let tree = tiles.insert_pane(Pane::Tree);
    let acceptance = tiles.insert_pane(Pane::Acceptance);
    let mut right = Linear::new(LinearDir::Vertical, vec![tree, acceptance]);
    right.shares.set_share(tree, 2.0);
    right.shares.set_share(acceptance, 1.0);
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
}
