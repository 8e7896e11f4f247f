//! Findings.

/// Skeleton.
pub struct Finding;

/// Skeleton.
pub fn find_overloads() {}
