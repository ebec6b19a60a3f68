//! Sessions: issue, resolve, touch, revoke.
