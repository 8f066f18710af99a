"""Reading images, volumes and masks, for training, prediction and the command line alike."""
