//! The benchmark: our two servers beside two hops of nginx, HAProxy and Envoy, under one load.

pub mod backend;
pub mod chain;
pub mod disk;
pub mod figures;
pub mod filling;
pub mod load;
pub mod machine;
pub mod plot;
mod proxy;
pub mod results;
pub mod rounds;
pub mod table;
pub mod usage;

/// HTTP/2 flow control of client and backend: large enough that none of our messages waits for it.
pub const WINDOW: u32 = 4 * 1024 * 1024;
