//! The endpoints that wxgate answers itself: decode, call, encode; no decisions.
