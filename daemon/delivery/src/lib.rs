//! hydrant-delivery
