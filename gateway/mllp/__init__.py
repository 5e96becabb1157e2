"""MLLP: framing (no I/O), server, client. Knows bytes and peers, never what a message means."""
