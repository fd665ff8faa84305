"""Face crops to train and measure on.

- `datasets`: videos of published data sets, as their authors lay them out on disk.
- `crops`: `deepscan prepare` cuts faces out of these videos; training caches those of pictures.
- `benchmarks`: files of others: DeepfakeBench's and DF40's lists of crops, ForenSynths' folders.
- `pictures`: a folder of labelled face pictures (`faces.csv`), or a benchmark read as one.
- `augmentation`: random changes of crops, and fakes made from real crops.
"""
