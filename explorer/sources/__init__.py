"""Everything that yields a model: one file a kind. Heavy libraries are imported inside functions only."""
