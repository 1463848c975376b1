"""The memory suite: queries larger than their budget, by every engine, with the most memory that each one took."""
