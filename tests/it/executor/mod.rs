//! The executor against a scripted cluster, on paused time.

pub mod fake;
mod limits;
mod manual;
mod outcomes;
mod restarts;
mod revalidation;
mod waves;
