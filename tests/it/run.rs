//! `leakcheck run`.
