//! How fast ops are on a device, as shares of what that device can do.

mod cases;
mod cost;
mod curve;
mod measure;
mod stats;

pub use cases::{Sizes, cases};
pub use cost::{Cost, cost};
pub use curve::{Cliff, Curve, cliffs, curve};
pub use measure::{Latency, Timing, latency, time};
pub use stats::{Level, Spread};
