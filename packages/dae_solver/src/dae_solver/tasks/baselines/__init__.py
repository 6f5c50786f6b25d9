"""What a learned solver must beat: rest, the nearest stored trajectory, a step map."""
