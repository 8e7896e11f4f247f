//! The executor against a scripted cluster, on paused time.

mod beside;
mod breaker;
mod clock;
pub mod fake;
mod leading;
mod limits;
mod manual;
mod outcomes;
mod restarts;
mod revalidation;
mod waves;
