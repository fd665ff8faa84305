"""Following faces: where those of a video were last, so that most of its frames need not be searched."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from deepscan.faces.face import Detection
from deepscan.faces.finder import FaceFinder
from deepscan.media.frames import Frame

#: Least confidence of a face that is followed: what the finder doubts is found anew or not at all.
SURE = 0.9
#: For how many seconds faces are followed at most: somebody else may have come into view.
MAX_FOLLOW_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class FollowState:
    """What the face finder knows of a video.

    Attributes:
        steps: How many frames ago a search was due; None before the first frame.
        since: Time of the frame for which it was, in seconds.
        faces: The faces of the last frame.
    """

    steps: int | None = None
    since: float = 0.0
    faces: list[Detection] = field(default_factory=list)

    def step(self, pts: float, every: int) -> int:
        """Go on to the next frame, and return how many frames ago a search was due: 0 if it is now."""
        steps = every if self.steps is None else self.steps + 1
        if steps >= every or pts - self.since > MAX_FOLLOW_SECONDS:
            steps, self.since = 0, pts
        self.steps = steps
        return steps


def search_or_follow(
    finder: FaceFinder, frames: Sequence[Frame], states: Sequence[FollowState]
) -> list[list[Detection]]:
    """Return the faces of frames of videos, the largest box first, and note them in the videos' states.

    One in `finder.every` frames of a video is searched, and at least one in two seconds; in the next ones the
    faces found are followed. A frame in which one of them is lost, or that follows one without faces, is
    searched as well. A face that comes into view is so found at the next search.

    Args:
        finder: The face finder.
        frames: The frames, those of one video in the order of time.
        states: The state of each frame's video.
    """
    found: dict[int, list[Detection]] = {}
    before: dict[int, int] = {}
    last: dict[int, int] = {}
    by_step: dict[int, list[int]] = defaultdict(list)
    for at, (frame, state) in enumerate(zip(frames, states, strict=True)):
        if id(state) in last:
            before[at] = last[id(state)]
        last[id(state)] = at
        by_step[state.step(frame.pts, finder.every)].append(at)
    # All searches that are due run together; then step by step what follows them.
    for step in sorted(by_step):
        known = {}
        for at in by_step[step] if step else ():
            faces = found[before[at]] if at in before else states[at].faces
            known[at] = [face for face in faces if face.probability >= SURE]
        near = [at for at, faces in known.items() if faces]
        if near:
            again = finder.redetect_near([frames[at].image for at in near], [known[at] for at in near])
            found |= {at: faces for at, faces in zip(near, again, strict=True) if faces is not None}
        lost = [at for at in by_step[step] if at not in found]
        found |= dict(zip(lost, finder.detect([frames[at].image for at in lost]), strict=True))
    for state in states:
        state.faces = found[last[id(state)]]
    return [found[at] for at in range(len(frames))]
