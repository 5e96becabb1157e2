"""Shapes that outlive a process: SQL, HL7 profile, JSON Schema, OpenAPI. Data, no logic but its generator."""
