"""Napari layers: building, placing, adding and updating them."""
