"""From fields to pictures."""
