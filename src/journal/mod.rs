//! Journal: intent durable before the call, outcome after.

mod settings;

pub use settings::JournalSettings;
