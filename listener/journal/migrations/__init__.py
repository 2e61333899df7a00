"""Brings a journal to the present schema, forward only."""
