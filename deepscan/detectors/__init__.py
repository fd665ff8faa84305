"""Detectors: the network, loss and inputs of each method."""

from typing import TYPE_CHECKING, Any

from deepscan.cards import ModelCard
from deepscan.errors import ContractError
from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.detectors.detector import DetectionMethod, Network

#: Name of a method -> its `DetectionMethod` class, whose arguments are the recipe's `loss`.
DETECTORS: "Registry[type[DetectionMethod[Any]]]" = Registry(
    "method",
    {
        "qtfp": "deepscan.detectors.qtfp",
        "corit": "deepscan.detectors.corit",
        "dfd-hr": "deepscan.detectors.dfd_hr",
        "gend": "deepscan.detectors.gend",
        **dict.fromkeys(("unifd", "effort", "lora", "fft"), "deepscan.detectors.linear"),
    },
)


def load_network(card: ModelCard) -> "Network":
    """Return a card's network with its weights, float32, in evaluation mode.

    Raises:
        UsageError: The card's method is unknown.
        MissingError: The card has no `torch` file, or it is not there.
        ContractError: The file is not the one that the card names, or does not fit the network.
    """
    import torch
    from safetensors.torch import load_file

    # Built without memory: nothing is drawn at random, or decomposed, only to be overwritten. The tuning of a
    # trained model is in its weights, and where the card states none, the backbone is to stay as it is.
    with torch.device("meta"):
        network = DETECTORS.get(card.method)().build({"tuning": {"type": "frozen"}, **card.network})
    stored = load_file(card.path("torch"))
    weights = {name: value.float() if value.is_floating_point() else value for name, value in stored.items()}
    # Batch norms count the batches they have seen only while they train, so a file may leave that out.
    counters = {
        name: torch.zeros_like(value, device="cpu")
        for name, value in network.state_dict().items()
        if name.endswith(".num_batches_tracked")
    }
    try:
        network.load_state_dict({**counters, **weights}, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ContractError(
            f"the weights of model {card.name!r} do not fit its network: {reason}",
            "restore the model's folder",
        )
    return network.eval()
