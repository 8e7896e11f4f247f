//! The executor against a scripted cluster, on paused time.

mod fake;
mod limits;
mod manual;
mod outcomes;
mod restarts;
mod revalidation;
mod waves;
