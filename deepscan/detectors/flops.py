"""What a pass through a vision transformer costs, in multiply-adds, by formula.

Twice these figures are what a counter of floating-point operations finds. Embeddings, norms and activations
are left out, as in the source.
"""


def block_cost(tokens: int, width: int, hidden: int) -> int:
    """Return the multiply-adds of a block: 4 n d^2 + 2 n^2 d + 2 n d m (DFD-HR, supplement B).

    Args:
        tokens: Tokens n.
        width: Width d of the tokens.
        hidden: Width m inside the MLP.
    """
    return 4 * tokens * width**2 + 2 * tokens**2 * width + 2 * tokens * width * hidden


def adapters_cost(tokens: int, width: int, experts: int, hidden: int) -> int:
    """Return the multiply-adds of a block's two mixtures of adapters (DFD-HR's "additional FLOPs").

    Args:
        tokens: Tokens n.
        width: Width d of the tokens.
        experts: Experts of a mixture.
        hidden: Width inside an expert.
    """
    gate, between, bias = experts * width, 2 * width * experts * hidden, experts * width
    return 2 * tokens * (gate + between + bias)


def pooling_cost(asked: int, tokens: int, width: int) -> int:
    """Return the multiply-adds of a multi-head attention by which some tokens ask others.

    Args:
        asked: Tokens that ask.
        tokens: Tokens that are asked.
        width: Width of all of them.
    """
    return 2 * (asked + tokens) * width**2 + 2 * asked * tokens * width


def tower_cost(full: int, reduced: int, tokens: int, kept: int, width: int, hidden: int) -> int:
    """Return the multiply-adds of a tower whose last blocks see fewer tokens (DFD-HR, supplement B).

    Args:
        full: Blocks K that see every token.
        reduced: Blocks T - K that see those kept, T being the one after which the sample leaves.
        tokens: Tokens n.
        kept: Tokens n^ that a reduced block sees.
        width: Width d of the tokens.
        hidden: Width m inside the blocks' MLP.
    """
    return full * block_cost(tokens, width, hidden) + reduced * block_cost(kept, width, hidden)
