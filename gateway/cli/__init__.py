"""The `procot` command line. Parses, calls `app` or the store, prints. Decides nothing about births."""
