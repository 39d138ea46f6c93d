//! The live view of a watch: what leaks, heap over time, processes and sites, in the cells of a terminal.
//!
//! It draws what it is given and turns keys into changes of what is shown. It does not read keys, ask the time or know
//! which terminal it is.

mod chart;
#[cfg(test)]
mod golden;
mod head;
mod help;
mod layout;
mod notes;
mod pen;
mod process_table;
mod screen;
mod site_table;
mod sparkline;
mod state;
mod table;

pub(crate) use screen::draw;
pub(crate) use state::{Key, LiveAction, LiveState};
