//! The way of a request: route, authenticate, answer or forward, log.
