//! What `watch` shows itself on and serves its figures from: the terminal, and the server of metrics.

#[cfg_attr(not(test), expect(dead_code, reason = "for the watch loop, which is to come"))]
mod metrics_server;
#[expect(dead_code, reason = "for the watch loop, which is to come")]
mod terminal;
