"""Hospital systems: how their HL7 maps to a birth record, and what goes back to them."""
