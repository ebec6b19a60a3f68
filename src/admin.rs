//! The operators' listener: is it alive, can it serve, what has it counted.
