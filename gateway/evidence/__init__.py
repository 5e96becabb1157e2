"""Canonical bytes, signature envelope and keys: what lets anybody check later what was said."""
