"""Follow the faces of a video from frame to frame, so that most frames need no full search."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from deepscan.faces.face import Detection
from deepscan.faces.finder import FaceFinder
from deepscan.media.frames import Frame

#: Lowest confidence of a face that is followed. Less certain faces must be found by a search.
SURE = 0.9
#: Faces are followed for this many seconds at most, because somebody else may have come into view.
MAX_FOLLOW_SECONDS = 2.0


@dataclass(slots=True, eq=False)
class FollowState:
    """What the face finder knows about a video.

    Attributes:
        steps: Number of frames since a search was due; None before the first frame.
        since: Time of the frame for which it was due, in seconds.
        faces: The faces of the last frame.
    """

    steps: int | None = None
    since: float = 0.0
    faces: list[Detection] = field(default_factory=list)

    def step(self, pts: float, every: int) -> int:
        """Advance to the next frame; return how many frames ago a search was due, 0 if it is due now."""
        steps = every if self.steps is None else self.steps + 1
        if steps >= every or pts - self.since > MAX_FOLLOW_SECONDS:
            steps, self.since = 0, pts
        self.steps = steps
        return steps


def search_or_follow(
    finder: FaceFinder, frames: Sequence[Frame], states: Sequence[FollowState]
) -> list[list[Detection]]:
    """Return the faces of frames, the largest box first, and update the videos' states.

    Every `finder.every`-th frame of a video is searched, and at least one in two seconds; in between, faces
    are followed. A frame in which one of them is lost, or whose predecessor had no faces, is searched as
    well. A face that comes into view is found at the next search.

    Args:
        finder: The face finder.
        frames: The frames, those of one video in order of time.
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
    # Run all due searches together, then follow the faces step by step.
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
