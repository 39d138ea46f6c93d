//! End-to-end tests of the command: one file per verb, and one for everything that goes wrong.

mod command;
mod recorded;

mod check;
