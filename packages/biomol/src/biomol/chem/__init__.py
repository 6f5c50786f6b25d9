"""Chemical vocabulary and reference geometry."""
