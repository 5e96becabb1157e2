"""A registry one can run: keeps records, works cases, issues specimens, misbehaves when asked to."""
