"""The online API: the same models, asked for one product or a few thousand at a time."""
