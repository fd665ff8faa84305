"""A progress bar for the Python API: in a terminal, a notebook or a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Progress callback: (done, total).
OnProgress = Callable[[int, int], None]


def progress_bar(description: str, unit: str = "it") -> OnProgress:
    """Return a progress callback that draws a tqdm bar, as a widget in a notebook.

    The bar appears on stderr with the first call, and closes when everything is done.

    Args:
        description: Text before the bar, such as `cutting faces`.
        unit: Name of the items that are counted.
    """
    from tqdm.auto import tqdm

    bars: list[tqdm] = []

    def update(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(desc=description, unit=unit, total=total, initial=0))
        (bar,) = bars
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()
            bars.clear()

    return update


@contextmanager
def counting_bar(description: str, unit: str, total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar, on stderr or as a widget, until the context ends; yield what advances it by one.

    Args:
        description: What is being done, such as `scanning`.
        unit: What is counted.
        total: How many there are.
    """
    from tqdm.auto import tqdm

    with tqdm(desc=description, unit=unit, total=total) as bar:
        yield lambda: bar.update() and None
