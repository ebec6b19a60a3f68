//! The command line: what the user typed becomes one of a handful of commands.
