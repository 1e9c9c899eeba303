"""What a recursive node remembers: which answers, for how long, in memory and in an optional second tier."""
