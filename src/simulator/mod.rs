//! A stand-in for WeChat's API, for tests, demos and other people's integration tests. Shares no code with the client.
