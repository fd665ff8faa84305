"""What knows a face again is made by the scripts in the repository: its teacher read, narrowed, written."""

import importlib.util
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from deepscan.onnx_session import open_session

SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield {
            name: script(name)
            for name in (
                "looks_figures",
                "looks_teacher",
                "face_views",
                "looks_student",
                "looks_export",
                "train_looks",
            )
        }
    finally:
        sys.path.remove(str(SCRIPTS))


@pytest.fixture(scope="module")
def network(scripts):
    torch.manual_seed(0)
    return scripts["looks_teacher"].FaceNetwork().eval()


@pytest.fixture(scope="module")
def chips():
    return np.random.default_rng(0).integers(0, 256, (2, 150, 150, 3), np.uint8)


def tensor(*values, sizes=None):
    """As dlib writes one: version, sizes, values, each number with its length before it."""
    flat = np.concatenate([np.asarray(value, np.float32).ravel() for value in values])
    numbers = (2, *(sizes or (len(flat), 1, 1, 1)))
    lengths = [(number.bit_length() + 7) // 8 for number in numbers]
    head = b"".join(
        bytes([length]) + number.to_bytes(length, "little")
        for length, number in zip(lengths, numbers, strict=True)
    )
    return head + struct.pack(f"<{len(flat)}f", *flat)


def test_the_teacher_is_read_from_a_file_of_dlibs(scripts, network, chips, tmp_path):
    parts = [b"\1\2net"]
    convolutions = [network.stem, *(each for block in network.blocks for each in (block.first, block.second))]
    for convolution in convolutions:
        # Half of it in the affine layer behind.
        count = convolution.out_channels
        weight, bias = (value.detach().numpy() for value in (convolution.weight, convolution.bias))
        parts += [b"con_4", tensor(2 * weight, 2 * bias - 1), b"affine", tensor([0.5] * count, [0.5] * count)]
    head = network.head.weight.detach().numpy()
    parts += [tensor(head.T, sizes=(256, 128, 1, 1))]
    path = tmp_path / "net.dat"
    path.write_bytes(b"".join(parts))
    teacher = scripts["looks_teacher"]
    planes = teacher.planes(chips)
    with torch.no_grad():
        wanted = network(planes) - network.head.bias
        torch.testing.assert_close(teacher.read_teacher(path)(planes), wanted, atol=1e-5, rtol=1e-4)
    path.write_bytes(b"".join(parts[:-1]))
    with pytest.raises(ValueError, match="not dlib's"):
        teacher.read_teacher(path)


def test_a_network_narrowed_to_its_own_width_is_the_same(scripts, network, chips):
    teacher = scripts["looks_teacher"]
    planes = teacher.planes(chips)
    widths = [behind for _, behind, _ in teacher.BLOCKS]
    with torch.no_grad():
        same = teacher.narrowed(network, widths, planes)(planes)
        less = teacher.narrowed(network, scripts["looks_student"].BETWEEN, planes)(planes)
        wanted = network(planes)
    torch.testing.assert_close(same, wanted)
    assert ((less - wanted).norm(dim=1) < 0.2 * wanted.norm(dim=1)).all()


def test_the_written_network_gives_what_torch_gives_but_for_8_bits(scripts, network, chips, tmp_path):
    path = tmp_path / "model.onnx"
    export = scripts["looks_export"]
    path.write_bytes(export.exported(network).SerializeToString())
    (given,) = open_session(path, threads=1).run(None, {"pixels": chips})
    with torch.no_grad():
        wanted = network(scripts["looks_teacher"].planes(chips)).numpy()
    assert given.shape == wanted.shape == (2, 128)
    assert np.linalg.norm(given - wanted, axis=1) == pytest.approx(
        0, abs=float(0.02 * np.linalg.norm(wanted[0]))
    )


def test_views_are_repeatable_and_differ(scripts):
    around = np.random.default_rng(1).integers(0, 256, (160, 160, 3), np.uint8)
    one, other = (scripts["face_views"].altered(around, np.random.default_rng(2)) for _ in range(2))
    assert one.shape == (150, 150, 3) and (one == other).all()
    assert (scripts["face_views"].altered(around, np.random.default_rng(3)) != one).any()


def test_two_swapped_faces_of_two_groups_say_nothing_of_two_persons(scripts):
    figures = scripts["looks_figures"]
    kinds = {"a": "real", "b": "real", "c": "swap", "d": "swap"}
    faces = figures.Faces(("A", "A", "C", "D"), ("a", "b", "c", "d"), kinds)
    vectors = np.eye(4)
    vectors[3] = vectors[2]
    between, same, pairs = figures.between_videos(vectors, faces)
    names = ["".join("abcd"[k] for k in pair) for pair in pairs.tolist()]
    assert dict(zip(names, same.tolist(), strict=True)) == {
        "ab": True, "ac": False, "ad": False, "bc": False, "bd": False,
    }  # fmt: skip
    assert between.max() == 0
    assert figures.threshold(vectors, faces) == 0
