"""What users run on their own data: `hands untangle` and the like. The book itself does not need them."""
