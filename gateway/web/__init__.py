"""HTTP: the births API, registry callbacks, health, metrics. Authenticates, then asks the store."""
