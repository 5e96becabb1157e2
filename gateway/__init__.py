"""Procot's gateway: births in from hospitals, certificates back. See the journey in docs/architecture.md."""
