"""The training: classes, preprocessing and network for the training loop."""

from fundus_tiny.network import Architecture, build_network
from fundus_tiny.options import TinyTrainingOptions
from napari_fundus.inference.card_preprocessing import preprocessing_from_card
from napari_fundus.training.loop.trainer import Trainer
from napari_fundus.training.patches.sampling_tasks import BalancedSamplingTask
from napari_fundus.training.patches.task import PatchTaskSpec


class TinyTask(BalancedSamplingTask):
    name, Options = "tiny", TinyTrainingOptions

    def make_spec(self):
        start = self.initial  # a checkpoint, or None for new weights
        recipe = preprocessing_from_card(start) if start else self.options.recipe()
        built_from = start.card.architecture if start else {"width": self.options.width}
        return PatchTaskSpec(("MA",), recipe, Architecture(**built_from), patch=32)

    def build(self):
        return build_network(self.architecture)


train = Trainer(TinyTask, TinyTrainingOptions, detector="tiny", what="a tiny network")
