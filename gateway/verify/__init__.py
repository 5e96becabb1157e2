"""May it come in? Sender, structure, content rules. Plain functions, no I/O."""
