//! Listeners, connections, deadlines and drain, for any service. Knows nothing of gateways.
