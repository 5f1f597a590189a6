"""The detector: which network runs, and where its training is."""

from fundus_tiny.options import TinyOptions
from napari_fundus.inference.load_network import network_of_card
from napari_fundus.network_detector import PixelDetector


class TinyDetector(PixelDetector):
    name, title, lesions = "tiny", "Tiny network", ("MA",)
    summary = "Microaneurysms by two layers; an example of a trainable third-party detector."
    devices = frozenset({"cpu", "cuda", "mps"})
    Options = TinyOptions
    reach = 3  # pixels to either side that the 7×7 convolution sees
    trainer = "fundus_tiny.training:train"

    def load_network(self, checkpoint):
        from fundus_tiny.network import Architecture, build_network

        return network_of_card(checkpoint, Architecture, build_network, what="a tiny network")[0]
