//! How calls end, as a label.

/// How a `LoadBalance` call ended, as far as the caller can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallResult {
    /// Milvus says success, which proves nothing about the segments.
    Answered,
    /// Milvus refused it.
    Refused,
    /// No answer came.
    Unknown,
}

impl CallResult {
    pub(super) const ALL: [CallResult; 3] = [CallResult::Answered, CallResult::Refused, CallResult::Unknown];

    /// The label.
    pub(super) fn code(self) -> &'static str {
        match self {
            CallResult::Answered => "answered",
            CallResult::Refused => "refused",
            CallResult::Unknown => "unknown",
        }
    }
}
