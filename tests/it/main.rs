//! End-to-end tests of the command: one file per verb, one for `check` as a gate, one for the help, one for what is documented as a schema, and one
//! for everything that goes wrong.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod command;
mod recorded;

mod check;
mod controls;
mod diff;
mod failures;
mod gate;
mod help;
mod kernel_only;
mod plot;
mod run;
mod said;
mod schemas;
