"""Trails: where the faces of a video were last, so that most of its frames need not be searched."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from deepscan.faces.face import Detection
from deepscan.faces.mtcnn import FaceFinder
from deepscan.media.frames import Image

#: Least confidence of a face that is followed: what the finder doubts is found anew or not at all.
SURE = 0.9


@dataclass(slots=True, eq=False)
class Trail:
    """What the face finder knows of a video.

    Attributes:
        frames: How many of its frames have been looked at.
        faces: The faces of the last one.
    """

    frames: int = 0
    faces: list[Detection] = field(default_factory=list)


def find_faces(finder: FaceFinder, images: Sequence[Image], trails: Sequence[Trail]) -> list[list[Detection]]:
    """Return the faces of frames of videos, the largest box first, and note them in the videos' trails.

    One in `finder.every` frames of a video is searched; in the next ones the faces found are followed. A
    frame in which one of them is lost, or that follows one without faces, is searched as well. A face that
    comes into view is so found at the next search.

    Args:
        finder: The face finder.
        images: RGB, shape (h, w, 3), uint8, those of one video in the order of time.
        trails: The trail of each image's video.
    """
    found: dict[int, list[Detection]] = {}
    before: dict[int, int] = {}
    last: dict[int, int] = {}
    steps: dict[int, list[int]] = {}
    count = {id(trail): trail.frames for trail in trails}
    for at, trail in enumerate(trails):
        if id(trail) in last:
            before[at] = last[id(trail)]
        last[id(trail)] = at
        steps.setdefault(count[id(trail)] % finder.every, []).append(at)
        count[id(trail)] += 1
    # All searches that are due run together; then step by step what follows them.
    for step in sorted(steps):
        known = {}
        for at in steps[step] if step else ():
            faces = found[before[at]] if at in before else trails[at].faces
            known[at] = [face for face in faces if face.probability >= SURE]
        near = [at for at, faces in known.items() if faces]
        if near:
            again = finder.follow([images[at] for at in near], [known[at] for at in near])
            found |= {at: faces for at, faces in zip(near, again, strict=True) if faces is not None}
        lost = [at for at in steps[step] if at not in found]
        found |= dict(zip(lost, finder.detect([images[at] for at in lost]), strict=True))
    for trail in trails:
        trail.frames, trail.faces = count[id(trail)], found[last[id(trail)]]
    return [found[at] for at in range(len(images))]
