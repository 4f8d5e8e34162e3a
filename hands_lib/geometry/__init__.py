"""Questions about space that know nothing of hands: rotations, alignment, distance, inside, visibility."""
