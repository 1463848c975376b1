"""Running user functions: values, calls in this process or in workers, and batches that follow what was observed."""
