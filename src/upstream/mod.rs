//! Connections to backends: one pool per worker and server.
