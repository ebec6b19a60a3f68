//! Flow 2: a login code becomes a session. No HTTP in here.
