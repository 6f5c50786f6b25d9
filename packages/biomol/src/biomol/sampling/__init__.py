"""Using a trained network: properties, identities, sequences, structures."""
