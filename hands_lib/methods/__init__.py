"""What each paper adds, a module or package a system. Methods import neither each other nor any data set."""
