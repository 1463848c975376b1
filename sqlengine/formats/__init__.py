"""Where rows come from and go to: one file per format, all behind the `Source` protocol of `base`."""
