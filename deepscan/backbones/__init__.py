"""ViT towers with access to tokens and to the attention of the last block."""
