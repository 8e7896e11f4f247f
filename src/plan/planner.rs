//! The planner.

/// Skeleton.
pub fn plan() {}
