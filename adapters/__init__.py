"""The outside systems: hospitals and registries, each behind the ports of gateway.contract."""
