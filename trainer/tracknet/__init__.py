"""TrackNet: a body per picture, by a convolutional encoder and an iterative regressor (HMR, Kanazawa et al. 2018)."""
