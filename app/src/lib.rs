//! The desktop app of Coppice: talk to a local model, and see the candidate trees that make it fast.
//!
//! # Map
//!
//! | module | what lives there |
//! |---|---|
//! | [`app`] | the order of a frame; actions carried out; news taken in |
//! | [`state`] | what the window shows, as plain data; what panels can ask for |
//! | [`command`], [`palette`] | everything that has a name: menus, keys, palette |
//! | [`layout`] | views and their dockable tiles |
//! | [`worker`] | the thread that owns the engine, and the trait that tests put in its place |
//! | [`history`] | conversations: tree, SQLite, thread, import and export |
//! | [`settings`] | what is remembered between starts |
//! | [`markdown`] | answers as blocks and widgets |
//! | [`trace_log`], [`demo`] | rounds of the session, of files, of the demonstration |
//! | [`panels`], [`tree_view`] | what is drawn, one file a panel |
//! | [`what_if`], [`why`] | rounds scored again; what costs speed, in words |
//! | [`compare`], [`cache_view`] | two runs on one time axis; rows and pages of a round |
//! | [`export`] | rounds as CSV, trees as SVG and PNG |
//! | [`headless`] | pictures of the app without a display |
//! | [`tokens`] | colours and sizes |
//! | [`words`] | numbers with the words they count |

pub mod app;
pub mod cache_view;
pub mod command;
pub mod compare;
pub mod demo;
pub mod export;
pub mod headless;
pub mod history;
pub mod layout;
pub mod markdown;
pub mod palette;
pub mod panels;
pub mod problem;
pub mod settings;
pub mod state;
pub mod tokens;
pub mod trace_log;
pub mod tree_view;
pub mod what_if;
pub mod why;
pub mod words;
pub mod worker;
