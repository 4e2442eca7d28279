//! What an op is.
