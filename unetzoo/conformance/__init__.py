"""The conformance suite: holds any segmentation network to one contract, on CPU and GPU, and says how to mend it."""
