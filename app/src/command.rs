//! Everything the user can ask for by name: the menu, the palette and the keyboard read this table.

use egui::{Key, KeyboardShortcut, Modifiers};

use crate::layout::View;

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each variant's text is its description")]
pub enum Command {
    NewChat,
    SearchChats,
    ImportChats,
    ExportMarkdown,
    ExportJson,
    ExportAllJson,
    DeleteChat,
    DefaultModel,
    OpenModel,
    OpenTrace,
    SaveTrace,
    Quit,
    StopAnswer,
    Regenerate,
    Continue,
    EditLast,
    CopyLast,
    FocusComposer,
    PreviousBranch,
    NextBranch,
    ToggleSidebar,
    ToggleSampling,
    ToggleTokens,
    ViewChat,
    ViewExplore,
    ViewDevices,
    ResetLayout,
    Palette,
    Settings,
    ThemeSystem,
    ThemeLight,
    ThemeDark,
    ZoomIn,
    ZoomOut,
    ZoomReset,
    ToggleStepping,
    StepRound,
    PlayDemo,
    PlayRounds,
    FindToken,
    FitTree,
    ExportTreeSvg,
    ExportTreePng,
    ExportRounds,
    ExportNodes,
    RefreshDevices,
    CopyDeviceReport,
    Shortcuts,
}

/// Menu that a command is listed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Menu {
    /// Files and conversations.
    File,
    /// The conversation on screen.
    Chat,
    /// What is shown.
    View,
    /// Rounds.
    Explore,
    /// Help.
    Help,
}

impl Menu {
    /// All, in the order of the bar.
    pub const ALL: [Self; 5] = [Self::File, Self::Chat, Self::View, Self::Explore, Self::Help];

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::File => "File",
            Self::Chat => "Chat",
            Self::View => "View",
            Self::Explore => "Explore",
            Self::Help => "Help",
        }
    }
}

const CTRL: Modifiers = Modifiers::COMMAND;
const CTRL_SHIFT: Modifiers = Modifiers::COMMAND.plus(Modifiers::SHIFT);
const ALT: Modifiers = Modifiers::ALT;

const fn keys(modifiers: Modifiers, key: Key) -> Option<KeyboardShortcut> {
    Some(KeyboardShortcut::new(modifiers, key))
}

impl Command {
    /// All, in the order of menus and palette.
    pub const ALL: [Self; 48] = [
        Self::NewChat,
        Self::SearchChats,
        Self::DefaultModel,
        Self::OpenModel,
        Self::ImportChats,
        Self::ExportMarkdown,
        Self::ExportJson,
        Self::ExportAllJson,
        Self::DeleteChat,
        Self::Settings,
        Self::Quit,
        Self::StopAnswer,
        Self::Regenerate,
        Self::Continue,
        Self::EditLast,
        Self::CopyLast,
        Self::PreviousBranch,
        Self::NextBranch,
        Self::FocusComposer,
        Self::ToggleSampling,
        Self::ToggleTokens,
        Self::Palette,
        Self::ViewChat,
        Self::ViewExplore,
        Self::ViewDevices,
        Self::ToggleSidebar,
        Self::ResetLayout,
        Self::ThemeSystem,
        Self::ThemeLight,
        Self::ThemeDark,
        Self::ZoomIn,
        Self::ZoomOut,
        Self::ZoomReset,
        Self::OpenTrace,
        Self::SaveTrace,
        Self::PlayDemo,
        Self::PlayRounds,
        Self::ToggleStepping,
        Self::StepRound,
        Self::FindToken,
        Self::FitTree,
        Self::ExportTreeSvg,
        Self::ExportTreePng,
        Self::ExportRounds,
        Self::ExportNodes,
        Self::RefreshDevices,
        Self::CopyDeviceReport,
        Self::Shortcuts,
    ];

    /// Text in menus and palette; `…` where more input follows.
    pub const fn text(self) -> &'static str {
        match self {
            Self::NewChat => "New chat",
            Self::SearchChats => "Search chats",
            Self::ImportChats => "Import chats…",
            Self::ExportMarkdown => "Export chat as Markdown…",
            Self::ExportJson => "Export chat with all branches as JSON…",
            Self::ExportAllJson => "Export all chats as JSON…",
            Self::DeleteChat => "Delete chat",
            Self::DefaultModel => "Use SmolLM2, the default model",
            Self::OpenModel => "Open model…",
            Self::OpenTrace => "Open trace…",
            Self::SaveTrace => "Save trace…",
            Self::Quit => "Quit",
            Self::StopAnswer => "Stop answer",
            Self::Regenerate => "Regenerate answer",
            Self::Continue => "Continue answer",
            Self::EditLast => "Edit last message of yours",
            Self::CopyLast => "Copy last answer",
            Self::FocusComposer => "Write a message",
            Self::PreviousBranch => "Previous branch",
            Self::NextBranch => "Next branch",
            Self::ToggleSidebar => "Show or hide chats",
            Self::ToggleSampling => "Show or hide sampling",
            Self::ToggleTokens => "Show or hide tokens",
            Self::ViewChat => "Chat",
            Self::ViewExplore => "Explore",
            Self::ViewDevices => "Devices",
            Self::ResetLayout => "Reset layout",
            Self::Palette => "Command palette",
            Self::Settings => "Settings",
            Self::ThemeSystem => "Theme of the system",
            Self::ThemeLight => "Light theme",
            Self::ThemeDark => "Dark theme",
            Self::ZoomIn => "Larger",
            Self::ZoomOut => "Smaller",
            Self::ZoomReset => "Normal size",
            Self::ToggleStepping => "Step the model",
            Self::StepRound => "Run one round",
            Self::PlayDemo => "Play the demonstration",
            Self::PlayRounds => "Play or pause rounds",
            Self::FindToken => "Find a token in trees",
            Self::FitTree => "Fit the tree",
            Self::ExportTreeSvg => "Export tree as SVG…",
            Self::ExportTreePng => "Export tree as PNG…",
            Self::ExportRounds => "Export rounds as CSV…",
            Self::ExportNodes => "Export nodes as CSV…",
            Self::RefreshDevices => "Look for devices again",
            Self::CopyDeviceReport => "Copy device report as Markdown",
            Self::Shortcuts => "Keyboard shortcuts",
        }
    }

    /// What it does, where the text leaves that open.
    pub const fn tooltip(self) -> &'static str {
        match self {
            Self::ExportJson => "A file that this app can import again, branches included",
            Self::DefaultModel => "Loads it, and fetches it first if it is not here yet",
            Self::Continue => "Go on where the last answer ended",
            Self::ToggleTokens => "Show who guessed each token of an answer",
            Self::ToggleStepping => "Hold the model after each round until you let one go",
            Self::PlayDemo => "Recorded rounds, without a model",
            Self::PlayRounds => "As they came; the model is not stopped by a pause",
            Self::ExportRounds => "A line a round: candidates, tokens, times",
            Self::ExportNodes => "A line a node: token, probabilities, verdict",
            _ => "",
        }
    }

    /// Keys.
    pub const fn shortcut(self) -> Option<KeyboardShortcut> {
        match self {
            Self::NewChat => keys(CTRL, Key::N),
            Self::SearchChats => keys(CTRL, Key::K),
            Self::OpenModel => keys(CTRL, Key::O),
            Self::ExportMarkdown => keys(CTRL, Key::E),
            Self::OpenTrace => keys(CTRL_SHIFT, Key::O),
            Self::SaveTrace => keys(CTRL_SHIFT, Key::S),
            Self::Quit => keys(CTRL, Key::Q),
            Self::StopAnswer => keys(Modifiers::NONE, Key::Escape),
            Self::Regenerate => keys(CTRL, Key::R),
            Self::Continue => keys(ALT, Key::Enter),
            Self::EditLast => keys(ALT, Key::ArrowUp),
            // Not Ctrl+Shift+C: the window system turns that into a copy event.
            Self::CopyLast => keys(ALT, Key::C),
            Self::FocusComposer => keys(CTRL, Key::L),
            Self::PreviousBranch => keys(ALT, Key::ArrowLeft),
            Self::NextBranch => keys(ALT, Key::ArrowRight),
            Self::ToggleSidebar => keys(CTRL, Key::B),
            Self::ToggleSampling => keys(CTRL, Key::Period),
            Self::ToggleTokens => keys(CTRL, Key::T),
            Self::ViewChat => keys(CTRL, Key::Num1),
            Self::ViewExplore => keys(CTRL, Key::Num2),
            Self::ViewDevices => keys(CTRL, Key::Num3),
            Self::Palette => keys(CTRL_SHIFT, Key::P),
            Self::Settings => keys(CTRL, Key::Comma),
            Self::ZoomIn => keys(CTRL, Key::Plus),
            Self::ZoomOut => keys(CTRL, Key::Minus),
            Self::ZoomReset => keys(CTRL, Key::Num0),
            Self::ToggleStepping => keys(CTRL_SHIFT, Key::T),
            Self::StepRound => keys(CTRL, Key::Space),
            Self::PlayRounds => keys(CTRL_SHIFT, Key::Space),
            Self::FindToken => keys(CTRL, Key::F),
            Self::FitTree => keys(CTRL_SHIFT, Key::F),
            Self::Shortcuts => keys(Modifiers::NONE, Key::F1),
            Self::DefaultModel
            | Self::ImportChats
            | Self::ExportJson
            | Self::ExportAllJson
            | Self::DeleteChat
            | Self::ResetLayout
            | Self::ThemeSystem
            | Self::ThemeLight
            | Self::ThemeDark
            | Self::PlayDemo
            | Self::ExportTreeSvg
            | Self::ExportTreePng
            | Self::ExportRounds
            | Self::ExportNodes
            | Self::RefreshDevices
            | Self::CopyDeviceReport => None,
        }
    }

    /// Menu that lists it.
    pub const fn menu(self) -> Menu {
        match self {
            Self::NewChat
            | Self::DefaultModel
            | Self::SearchChats
            | Self::OpenModel
            | Self::ImportChats
            | Self::ExportMarkdown
            | Self::ExportJson
            | Self::ExportAllJson
            | Self::DeleteChat
            | Self::Settings
            | Self::Quit => Menu::File,
            Self::StopAnswer
            | Self::Regenerate
            | Self::Continue
            | Self::EditLast
            | Self::CopyLast
            | Self::PreviousBranch
            | Self::NextBranch
            | Self::FocusComposer
            | Self::ToggleSampling
            | Self::ToggleTokens => Menu::Chat,
            Self::Palette
            | Self::ViewChat
            | Self::ViewExplore
            | Self::ViewDevices
            | Self::ToggleSidebar
            | Self::ResetLayout
            | Self::ThemeSystem
            | Self::ThemeLight
            | Self::ThemeDark
            | Self::ZoomIn
            | Self::ZoomOut
            | Self::ZoomReset => Menu::View,
            Self::OpenTrace
            | Self::SaveTrace
            | Self::PlayDemo
            | Self::PlayRounds
            | Self::ToggleStepping
            | Self::StepRound
            | Self::FindToken
            | Self::FitTree
            | Self::ExportTreeSvg
            | Self::ExportTreePng
            | Self::ExportRounds
            | Self::ExportNodes
            | Self::RefreshDevices
            | Self::CopyDeviceReport => Menu::Explore,
            Self::Shortcuts => Menu::Help,
        }
    }

    /// The view that it switches to.
    pub const fn view(self) -> Option<View> {
        match self {
            Self::ViewChat => Some(View::Chat),
            Self::ViewExplore => Some(View::Explore),
            Self::ViewDevices => Some(View::Devices),
            _ => None,
        }
    }
}

/// Keys as menus show them, with the signs that are on them.
pub fn keys_text(ctx: &egui::Context, keys: &KeyboardShortcut) -> String {
    let text = ctx.format_shortcut(keys);
    let named = [("Comma", ","), ("Period", "."), ("Plus", "+"), ("Minus", "-"), ("Escape", "Esc")];
    named.into_iter().fold(text, |text, (name, sign)| text.replace(name, sign))
}

/// Commands whose keys were pressed in this frame; their key events are used up.
pub fn pressed(ctx: &egui::Context) -> Vec<Command> {
    ctx.input_mut(|input| {
        // The longer combination first: Ctrl+Shift+S must not be taken for Ctrl+S.
        let mut with_keys: Vec<_> = Command::ALL
            .into_iter()
            // Escape belongs to whoever is on top; the app looks at it last.
            .filter(|command| *command != Command::StopAnswer)
            .filter_map(|command| Some((command, command.shortcut()?)))
            .collect();
        with_keys.sort_by_key(|(_, keys)| std::cmp::Reverse(keys.modifiers.shift));
        let is_pressed = |(command, keys): (Command, KeyboardShortcut)| {
            input.consume_shortcut(&keys).then_some(command)
        };
        let mut all: Vec<Command> = with_keys.into_iter().filter_map(is_pressed).collect();
        // Plus needs Shift on many keyboards, where Ctrl and its key mean the same.
        if input.consume_key(CTRL, Key::Equals) {
            all.push(Command::ZoomIn);
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_commands_are_listed_once_with_text_and_own_keys() {
        let listed: HashSet<_> = Command::ALL.into_iter().collect();
        assert_eq!(listed.len(), Command::ALL.len());
        let texts: HashSet<_> = Command::ALL.into_iter().map(Command::text).collect();
        assert_eq!(texts.len(), Command::ALL.len());
        let keys: Vec<_> = Command::ALL.into_iter().filter_map(Command::shortcut).collect();
        for (n, one) in keys.iter().enumerate() {
            assert!(!keys[n + 1..].contains(one), "{one:?} is given twice");
        }
    }
}
