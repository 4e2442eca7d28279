//! The app without a display: one binary, so that it is linked once.

mod chat;
mod common;
mod devices;
mod errors;
mod explorer;
mod frames;
mod keyboard;
mod kill;
mod large;
mod outline;
mod paths;
