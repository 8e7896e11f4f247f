//! Folds one observation into the running state and a snapshot.

/// What the model remembers between observations.
#[derive(Clone, Debug, Default)]
pub struct ModelState;

/// Skeleton.
pub fn fold() {}
