"""Train every method and its main switches on the compact backbone, and write the results to a table.

    python benchmarks/methods.py --data DIR --work DIR            # hours on two cores

`DIR/faces.csv` lists the pictures. First a backbone is pretrained without labels (backbone.yaml). Every row
then starts from it and trains with the same budget (methods.yaml). Rows that are already trained are skipped.
"""

import argparse
import csv
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from deepscan.bench.output import write_table

HERE = Path(__file__).parent
#: DFD-HR uses the whole crop; its experts are a quarter as wide as the tokens, as in the paper.
WHOLE = ("crop.resize=null", "network.hidden=40")
ROWS: dict[str, tuple[str, ...]] = {
    "unifd": ("--method", "unifd", "network.feature=cls", "sam_rho=0"),
    "fft": ("--method", "fft"),
    "lora": ("--method", "lora"),
    "effort": ("--method", "effort"),
    "gend": ("--method", "gend"),
    "qtfp": ("--method", "qtfp"),
    "qtfp, no FLCL": ("--method", "qtfp", "loss.contrast=none"),
    "qtfp, no RAAL": ("--method", "qtfp", "loss.alignment=none"),
    "qtfp, queries alone": ("--method", "qtfp", "loss.contrast=none", "loss.alignment=none"),
    "qtfp on fft": ("--method", "qtfp", "network.tuning.type=fft"),
    "corit": ("--method", "corit", "inputs.grid=7"),
    "corit, no RRM": ("--method", "corit", "inputs.grid=7", "network.rrm=false"),
    "corit, RSI alone": ("--method", "corit", "inputs.grid=7", "network.rrm=false", "network.hri=false"),
    "corit, HRI alone": ("--method", "corit", "inputs.grid=7", "network.rsi=false"),
    "dfd-hr": ("--method", "dfd-hr", *WHOLE),
    "dfd-hr, no layer pruning": ("--method", "dfd-hr", *WHOLE, "network.pruning=false"),
    "dfd-hr, no token selection": ("--method", "dfd-hr", *WHOLE, "network.selection=none"),
    "dfd-hr, no tiles": ("--method", "dfd-hr", *WHOLE, "network.split=false"),
}


def main() -> None:
    """Train the missing rows and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with faces.csv")
    parser.add_argument("--work", type=Path, required=True, help="folder for crops, checkpoints and models")
    parser.add_argument("--out", type=Path, default=HERE / "methods.csv")
    parser.add_argument("--threads", default="1", help="threads of torch")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), help="train only these rows")
    arguments = parser.parse_args()
    common = (
        "--data",
        arguments.data,
        "--cache",
        str(arguments.work / "crops"),
        "--threads",
        arguments.threads,
    )
    backbone = arguments.work / "backbone"
    if not (backbone / "done").is_file():
        train("--recipe", str(HERE / "backbone.yaml"), "--out", str(backbone), *common)
        (backbone / "done").touch()
    shutil.copyfile(backbone / "run" / "log.csv", arguments.out.with_name("backbone.csv"))
    for name in arguments.rows:
        if not (folder_of(arguments.work, name) / "card.yaml").is_file():
            start = (*ROWS[name], f"weights={backbone}/run/best.safetensors")
            folder = folder_of(arguments.work, name)
            train("--recipe", str(HERE / "methods.yaml"), "--out", str(folder), *common, *start)
    trained = [name for name in ROWS if (folder_of(arguments.work, name) / "card.yaml").is_file()]
    lines = [dict(row(name, folder_of(arguments.work, name), ROWS[name])) for name in trained]
    write_table(arguments.out, lines)
    draw(lines, arguments.out.with_suffix(".svg"))


def draw(lines: Sequence[Mapping[str, object]], path: Path) -> None:
    """Draw the AUC of each row with its interval to an SVG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.32 * len(lines) + 1), layout="constrained")
    axes = figure.subplots()
    values = [float(str(line["auc"])) for line in lines]
    errors = [
        [value - float(str(line["low"])) for value, line in zip(values, lines, strict=True)],
        [float(str(line["high"])) - value for value, line in zip(values, lines, strict=True)],
    ]
    axes.errorbar(values, range(len(lines)), xerr=errors, fmt="o", color="#1f4e79", capsize=3)
    axes.set_yticks(range(len(lines)), [str(line["row"]) for line in lines])
    axes.invert_yaxis()
    axes.axvline(0.5, color="#999999", linestyle="--", linewidth=1)
    axes.set_xlabel("AUC on held-out DFDC crops, 95 % interval by group; dashed: chance")
    figure.savefig(path, metadata={"Date": None})


def folder_of(work: Path, name: str) -> Path:
    """Return the folder of a row's model."""
    return work / name.replace(",", "").replace(" ", "-")


def train(*options: str) -> None:
    """Run `deepscan train`; resume it if it was interrupted."""
    command = [sys.executable, "-m", "deepscan", "train", "--progress", "plain", *options]
    out = Path(options[options.index("--out") + 1])
    if (out / "run" / "last.safetensors").is_file():
        command.append("--resume")
    print(shlex.join(command), flush=True)
    subprocess.run(command, check=True)


def row(name: str, folder: Path, options: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    """Yield the columns of a row from the model's card and the training log."""
    card = yaml.safe_load((folder / "card.yaml").read_text(encoding="utf-8"))
    auc = next(result for result in card["results"] if result["metric"] == "auc")
    with (folder / "run" / "log.csv").open(encoding="utf-8") as file:
        history = list(csv.DictReader(file))
    yield "row", name
    yield "auc", auc["value"]
    yield "low", auc["interval"][0]
    yield "high", auc["interval"][1]
    yield "n", auc["n"]
    yield "groups", auc["groups"]
    yield "epochs", len(history)
    yield "trainable", card["trained"]["parameters"].replace(",", "")
    arguments = card["trained"]["command"]
    missing = [option for option in options if option not in shlex.split(arguments)]
    if missing:
        raise SystemExit(f"{folder} was trained without {missing[0]}: remove it, and run this again")
    recipe = ["--recipe", "benchmarks/methods.yaml", "--data", "DIR", *options]
    yield "command", shlex.join(["deepscan", "train", *recipe, "weights=backbone/run/best.safetensors"])


if __name__ == "__main__":
    main()
