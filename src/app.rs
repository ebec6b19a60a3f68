//! The only place that wires: a [`Config`](crate::config::Config) becomes a running gateway.
