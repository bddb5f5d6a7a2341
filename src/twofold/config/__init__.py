"""Configuration: schema (the keys), load (files to values), check (the rules between values)."""
