"""What a catalogue must look like: its rules as Polars expressions, and as a Great Expectations suite."""
