"""What a person runs on files of their own: each tool has a command and a function."""
