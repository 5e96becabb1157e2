"""HL7 v2 as text: lexer, message view, reference tables, dates, charset, acknowledgement, build. No I/O."""
