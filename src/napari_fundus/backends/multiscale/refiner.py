"""The refinement network: predicts whether a patch's centre is a lesion, by what it resembles."""

from __future__ import annotations

from typing import Annotated, Literal, cast

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

_BLOCKS = {"resnet50": (3, 4, 6, 3), "resnet18": (2, 2, 2, 2), "light": (1, 1, 1, 1)}
_LIGHT_CHANNELS = (16, 32, 64, 128)


class RefinerArchitecture(BaseModel):
    """What a network is built from; it stands in the model card.

    Attributes
    ----------
    backbone
        ``"resnet50"`` is the paper's, less its max-pooling; ``"light"`` has one basic block a
        stage and a quarter of the channels.
    planes
        Number of input planes.
    patch
        Side of the patches, odd: they have a centre.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    backbone: Literal["resnet50", "resnet18", "light"] = "resnet50"
    planes: Annotated[int, Field(ge=1, le=16)] = 3
    patch: Annotated[int, Field(ge=17, le=513)] = 129


class Refiner(nn.Module):
    """A residual network less one of its down-samplings, with an embedding before the answer.

    The paper does not tell which down-sampling is left out; here it is the max-pooling, so that
    small lesions are not lost at once.

    Parameters
    ----------
    architecture
        Backbone, planes, patch.

    References
    ----------
    Sarhan M.H. et al.: Multi-scale Microaneurysms Segmentation Using Embedding Triplet Loss.
    MICCAI 2019, arXiv:1904.12732.
    """

    def __init__(self, architecture: RefinerArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        blocks = _BLOCKS[architecture.backbone]
        if architecture.backbone == "light":
            self.body, length = _light_body(architecture.planes, blocks)
        else:
            self.body, length = _resnet_body(architecture.planes, blocks, architecture.backbone)
        self.embedding_length = length
        self.head = nn.Linear(length, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def embed(self, patches: Tensor) -> Tensor:
        """Return embeddings.

        Parameters
        ----------
        patches
            Float, shape (B, P, S, S).

        Returns
        -------
        Tensor
            Float, shape (B, D): means of the last maps over the patch.
        """
        maps: Tensor = self.body(patches)
        return maps.mean(dim=(2, 3))

    def classify(self, embeddings: Tensor) -> Tensor:
        """Return the logits, shape (B,), that the centre is a lesion."""
        return cast("Tensor", self.head(embeddings))[:, 0]

    def forward(self, patches: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits, shape (B,), and embeddings, shape (B, D)."""
        embeddings = self.embed(patches)
        return self.classify(embeddings), embeddings


def _resnet_body(planes: int, blocks: tuple[int, ...], name: str) -> tuple[nn.Sequential, int]:
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    kind = Bottleneck if name == "resnet50" else BasicBlock
    whole = ResNet(kind, list(blocks))
    first = nn.Conv2d(planes, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
    stages = (whole.layer1, whole.layer2, whole.layer3, whole.layer4)
    return nn.Sequential(first, whole.bn1, whole.relu, *stages), 512 * kind.expansion


def _light_body(planes: int, blocks: tuple[int, ...]) -> tuple[nn.Sequential, int]:
    channels = _LIGHT_CHANNELS
    layers: list[nn.Module] = [
        nn.Conv2d(planes, channels[0], 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(channels[0]),
        nn.ReLU(inplace=True),
    ]
    before = channels[0]
    for number, (after, count) in enumerate(zip(channels, blocks, strict=True)):
        for block in range(count):
            stride = 2 if number and not block else 1
            layers.append(_BasicBlock(before, after, stride))
            before = after
    body = nn.Sequential(*layers)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return body, before


class _BasicBlock(nn.Module):
    """Two 3×3 convolutions around which the input goes on."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.work = nn.Sequential(
            nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
        )
        self.around: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.around = nn.Sequential(
                nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.work(x) + self.around(x), inplace=True)
