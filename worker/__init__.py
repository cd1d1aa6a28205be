"""The worker: executing runs, and the loops that promote, sweep and relay."""
