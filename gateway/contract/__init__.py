"""All that an adapter may see: birth record, outcomes, life cycle, ports, masked values. No I/O."""
