"""Documents to examples."""
