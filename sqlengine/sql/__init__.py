"""From SQL text to logical plans: parsing, binding, decorrelation."""
