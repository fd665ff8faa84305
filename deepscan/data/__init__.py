"""Face crops for training and evaluation.

- `datasets`: videos of published data sets, in the layout of their authors.
- `crops`: cuts faces out of these videos (`deepscan prepare`), and out of pictures for training.
- `benchmarks`: third-party formats: crop lists of DeepfakeBench and DF40, folders of ForenSynths.
- `pictures`: a folder of labelled face pictures (`faces.csv`), or a benchmark read as such a folder.
- `augmentation`: random changes to crops, and fakes made from real crops.
"""
