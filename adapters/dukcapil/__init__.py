"""Indonesia's civil registry: element check, submission, outcomes; and a sandbox of it."""
