//! Load and micro benches beside their limits
