"""The machine below: devices, files, progress and cancelling, preferences."""
