"""Training on Lightning's engine: settings, the fitted module, run folders."""
