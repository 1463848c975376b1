"""What running queries share: the memory pool, spill files, the two containers that hold rows, metrics,
cancellation."""
