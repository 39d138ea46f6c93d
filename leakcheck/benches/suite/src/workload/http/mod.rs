//! An HTTP service under load from another process.

mod load;
mod orders;
mod server;

pub(super) use load::Load;
pub(super) use server::Http;
