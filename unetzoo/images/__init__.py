"""Reading and writing images, volumes and masks, whole and in windows, for training, prediction and the command line.

A format is one file in `formats/` with a function `open(path, ndim, role) -> Image`, and one row in `opening.FORMATS`.
The image has the pixels in the file's own type, upright, with the channels that the file has: none is dropped but true
opacity, none is invented. What cannot be read right raises `InputError` with the file's name and what to do.
"""
