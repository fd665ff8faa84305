"""Detection methods: their networks, losses and inputs."""

from typing import TYPE_CHECKING, Any

from deepscan.cards import ModelCard
from deepscan.errors import ContractError
from deepscan.registry import Registry

if TYPE_CHECKING:
    from deepscan.detectors.detector import DetectionMethod, Network

#: Name of a method -> its `DetectionMethod` class, which takes the recipe's `loss` as arguments.
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
    """Load a card's network with its weights, float32, in evaluation mode.

    Raises:
        UsageError: The card's method is unknown.
        MissingError: The card has no `torch` file, or the file is missing.
        ContractError: The file's hash differs from the card's, or its weights do not match the network.
    """
    import torch
    from safetensors.torch import load_file

    # On the meta device nothing is initialised or decomposed only to be overwritten. A trained model's tuning
    # is in its weights; where the card has no tuning, the backbone is frozen.
    with torch.device("meta"):
        network = DETECTORS.get(card.method)().build({"tuning": {"type": "frozen"}, **card.network})
    stored = load_file(card.path("torch"))
    weights = {name: value.float() if value.is_floating_point() else value for name, value in stored.items()}
    # Batch norms need their counters only in training, so a file may omit them.
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
            f"the weights of model {card.name!r} do not match its network: {reason}",
            "restore the model's folder",
        )
    return network.eval()
