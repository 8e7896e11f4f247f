//! Fair share.
