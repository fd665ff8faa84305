"""Face crops to train and measure on: layouts, alignment, augmentation."""
