"""A progress bar for whoever calls deepscan from Python: in a terminal, in a notebook, in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: Progress callback: how many are done, and how many there are.
OnProgress = Callable[[int, int], None]


def progress_bar(description: str, unit: str = "it") -> OnProgress:
    """Return a progress callback that draws a bar with tqdm, as a widget in a notebook.

    The bar appears with the first call and closes when all are done. It is drawn on stderr.

    Args:
        description: What is being done, such as `cutting faces`.
        unit: What is counted.
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
