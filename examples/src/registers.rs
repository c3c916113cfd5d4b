//! Legacy registers with believable content, and the adapters that make services of them.

pub mod adapter;
pub mod population;
pub mod units;

pub use adapter::Adapter;
