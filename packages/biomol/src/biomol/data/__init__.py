"""File formats to typed records to features to static-shape batches."""
