"""Test MTCNN: facenet-pytorch's result in `exact`, the same faces in `fast`, and all edge cases."""

import cv2
import numpy as np
import pytest
from facenet_pytorch import MTCNN

from deepscan.devices import cuda_devices
from deepscan.errors import MissingError, UsageError
from deepscan.faces import mtcnn
from deepscan.faces.area import IntegralImage
from deepscan.faces.boxes import iou
from deepscan.faces.mtcnn import BOUNDS, SEARCHES, Bounds, Mtcnn
from deepscan.onnx_session import open_session

# Both sides compute in float32 on pixels up to a few thousand wide: a unit in the last place there is 2e-4.
PIXELS = 5e-3
PROBABILITY = 1e-5


def canvas(height, width, *placed):
    """Return a grey picture with others pasted at (left, top)."""
    image = np.full((height, width, 3), 90, np.uint8)
    for other, left, top in placed:
        image[top : top + other.shape[0], left : left + other.shape[1]] = other
    return image


def scaled(image, factor):
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def scenes(astronaut, hopper):
    rng = np.random.default_rng(0)
    crowd = canvas(
        601,
        903,
        (scaled(astronaut, 0.6), 3, 5),
        (scaled(hopper, 0.45), 330, 11),
        (scaled(astronaut, 0.25)[:, ::-1], 640, 40),
        (scaled(hopper, 0.2), 700, 300),
        (scaled(hopper, 0.8)[:280], 20, 320),
    )
    return {
        "astronaut": astronaut,
        "hopper": hopper,
        "odd size": cv2.resize(hopper, (333, 401)),
        "crowd": crowd,
        "cut by the edge": astronaut[60:180, 190:300],
        "tilted": cv2.warpAffine(
            astronaut,
            cv2.getRotationMatrix2D((220, 120), 25, 1.2),
            (512, 512),
            borderMode=cv2.BORDER_REPLICATE,
        ),
        "small": scaled(astronaut, 0.25),
        "noise": rng.integers(0, 256, (120, 160, 3), np.uint8),
        "flat": canvas(64, 64),
        "just a window": scaled(astronaut, 0.1)[:21, :21],
    }


@pytest.fixture(scope="module")
def reference():
    return MTCNN(keep_all=True, min_face_size=20)


NAMES = (
    "astronaut",
    "hopper",
    "odd size",
    "crowd",
    "cut by the edge",
    "tilted",
    "small",
    "noise",
    "flat",
    "just a window",
)


@pytest.mark.parametrize("name", NAMES)
def test_exact_equals_facenet_pytorch(name, scenes, exact, reference):
    boxes, probabilities, landmarks = reference.detect(scenes[name], landmarks=True)
    boxes, landmarks = (None if boxes is None else np.float32(list(b)) for b in (boxes, landmarks))
    (found,) = exact.detect([scenes[name]])
    assert len(found) == (0 if boxes is None else len(boxes))
    for k, face in enumerate(found):
        np.testing.assert_allclose(face.box, boxes[k], atol=PIXELS)
        np.testing.assert_allclose(face.landmarks, landmarks[k], atol=PIXELS)
        assert face.probability == pytest.approx(probabilities[k], abs=PROBABILITY)


def test_scenes_contain_the_faces_they_are_made_of(scenes, exact):
    counts = {
        name: len(found) for name, found in zip(scenes, exact.detect(list(scenes.values())), strict=True)
    }
    assert counts["crowd"] >= 4 and counts["noise"] == counts["flat"] == 0
    singles = ("astronaut", "hopper", "odd size", "cut by the edge", "small")
    assert {name: counts[name] for name in singles} == dict.fromkeys(singles, 1)


@pytest.mark.parametrize("finder", ["exact", "fast"])
@pytest.mark.parametrize(
    "bounds", [None, (1, Bounds(1, 1)), (200_000, Bounds(5_000, 7 * 48**2)), (1 << 24, BOUNDS["cuda"])]
)
def test_a_face_does_not_depend_on_the_other_images(finder, bounds, scenes, request, monkeypatch):
    """Images of mixed sizes in one call, split anywhere, give the same faces as each image alone."""
    finder = request.getfixturevalue(finder)
    images = [scenes[name] for name in ("small", "crowd", "flat", "small", "cut by the edge", "crowd")]
    alone = [finder.detect([image])[0] for image in images]
    if bounds:
        monkeypatch.setattr(mtcnn, "KEPT_PIXELS", bounds[0])
        monkeypatch.setattr(finder, "_bounds", bounds[1])
    for together, one in zip(finder.detect(images), alone, strict=True):
        assert len(together) == len(one)
        for a, b in zip(together, one, strict=True):
            # In another batch, a matrix product may sum in a different order.
            np.testing.assert_allclose(a.box, b.box, atol=PIXELS)
            np.testing.assert_allclose(a.landmarks, b.landmarks, atol=PIXELS)


@pytest.mark.slow
def test_p_net_around_a_known_face_gives_the_same_as_in_the_whole_level(scenes, exact, monkeypatch):
    """Its map is the same up to its edge, wherever the face is, because pooling uses whole strides."""

    class RecordingImage(IntegralImage):
        def resized(self, height, width, rows, columns):
            parts.append((height, width, rows, columns))
            return super().resized(height, width, rows, columns)

    class RecordingNet:
        def run(self, names, feed):
            answers.append(pnet.run(names, feed)[0])
            return answers[-1:]

    parts, answers, pnet, image = [], [], exact._pnet, scenes["crowd"]
    monkeypatch.setattr(exact, "_pnet", RecordingNet())
    corners = np.float32([(x, y) for x in (-9, 90, 301, 777, 850) for y in (-5, 111, 250, 545)])
    near = [np.concatenate([corner, corner + side]) for corner in corners for side in (40, 57, 131)]
    exact._propose_near([RecordingImage(image)], [1.0], [near])
    assert any(rows.stop < height for height, _, rows, _ in parts)
    assert any(rows.stop == height and height % 2 for height, _, rows, _ in parts)
    whole = {
        part[:2]: pnet.run(None, {"pixels": IntegralImage(image).resized(*part[:2])[None]})[0]
        for part in parts
    }
    for (*level, rows, columns), answer in zip(parts, answers, strict=True):
        top, left = rows.start // 2, columns.start // 2
        expected = whole[tuple(level)][:, :, top:, left:][:, :, : answer.shape[2], : answer.shape[3]]
        # Over another number of pixels, a matrix product may sum in a different order.
        np.testing.assert_allclose(answer, expected, atol=1e-4)


def test_faces_come_largest_first(scenes, exact):
    sizes = [face.width * face.height for face in exact.detect([scenes["crowd"]])[0]]
    assert len(sizes) > 2 and sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("width", [640, 1280, 1920, 3840])
def test_fast_returns_positions_in_the_full_frame(width, astronaut, exact, fast):
    frame = canvas(360, 640, (scaled(astronaut, 0.7), 150, 1))
    (truth,) = exact.detect([frame])[0]
    factor = width / 640
    (found,) = fast.detect([cv2.resize(frame, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)])[0]
    assert iou(truth.box * np.float32(factor), found.box[None])[0] > 0.8
    eyes = np.linalg.norm(truth.landmarks[1] - truth.landmarks[0])
    # MTCNN's points move by up to a twentieth of the eye distance between pyramids of one picture.
    np.testing.assert_allclose(found.landmarks / factor, truth.landmarks, atol=eyes / 20)


@pytest.mark.parametrize("size", [(1080, 1920), (2160, 3840)])
def test_fast_finds_faces_of_48_pixels(size, portraits, fast):
    for image, face in portraits.values():
        small = scaled(image, 50 / min(face.width, face.height))
        found = fast.detect([canvas(*size, (small, size[1] // 2, size[0] // 3))])[0]
        assert len(found) == 1
        assert min(found[0].width, found[0].height) == pytest.approx(50, rel=0.2)


def test_fast_shrinks_no_further_than_its_smallest_face_allows():
    search = SEARCHES["fast"]
    assert search.shrink(480, 640) == 1
    assert 0.5 < search.shrink(1080, 1920) < 1
    assert search.shrink(4320, 7680) * search.min_face >= 20
    assert SEARCHES["exact"].shrink(4320, 7680) == 1


@pytest.mark.parametrize("finder", ["exact", "fast"])
@pytest.mark.parametrize(
    "size", [(1, 1), (1, 500), (40, 1), (5, 5), (11, 40), (12, 12), (13, 20), (21, 21), (4000, 2)]
)
def test_tiny_frames_give_no_face_and_no_error(finder, size, request):
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    assert request.getfixturevalue(finder).detect([noise]) == [[]]


def test_no_images(fast):
    assert fast.detect([]) == []


def test_frames_are_not_written_to(astronaut, exact):
    frozen = astronaut.copy()
    frozen.setflags(write=False)
    assert len(exact.detect([frozen])[0]) == 1


@pytest.mark.parametrize("options", [{"mode": "quick"}, {"device": "gpu"}, {"device": "cuda:x"}])
def test_unknown_options(options):
    with pytest.raises(UsageError):
        Mtcnn(**options)


@pytest.mark.skipif(cuda_devices() > 0, reason="tests the absence of a GPU, and this machine has one")
def test_cuda_without_a_gpu_is_an_error():
    with pytest.raises(MissingError, match="--faces-device cuda") as raised:
        Mtcnn(device="cuda")
    assert "--faces-device cpu" in raised.value.hint


@pytest.mark.slow
def test_a_gpu_gives_the_same_faces_in_fewer_and_larger_runs(scenes, monkeypatch):
    class Counted:
        def __init__(self, path, device, threads):
            self.session, self.sizes = open_session(path, threads=1), []
            devices.append(device)
            nets.append(self)

        def run(self, names, feed):
            self.sizes.append(feed["pixels"].size)
            return self.session.run(names, feed)

    nets, devices = [], []
    monkeypatch.setattr("deepscan.devices.cuda_devices", lambda: 1)
    monkeypatch.setattr(mtcnn, "open_session", Counted)
    images = [scenes["crowd"]] * 4
    cpu, gpu = (Mtcnn("exact", name).detect(images) for name in ("cpu", "cuda"))
    assert devices == ["cpu"] * 3 + ["cuda"] * 3
    for before, after in zip(nets[:3], nets[3:], strict=True):
        assert len(after.sizes) < len(before.sizes)
        assert max(after.sizes) > max(before.sizes)
    for one, other in zip(cpu, gpu, strict=True):
        assert len(one) == len(other) >= 4
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a.box, b.box, atol=PIXELS)


@pytest.mark.skipif(cuda_devices() == 0, reason="needs a GPU")
def test_cuda_finds_what_the_cpu_finds(scenes, fast):
    images = [scenes["crowd"], scenes["hopper"]]
    for gpu, cpu in zip(Mtcnn(device="cuda").detect(images), fast.detect(images), strict=True):
        assert len(gpu) == len(cpu)
        for a, b in zip(gpu, cpu, strict=True):
            # Convolutions sum in a different order on a GPU; half a pixel changes no crop visibly.
            np.testing.assert_allclose(a.box, b.box, atol=0.5)
