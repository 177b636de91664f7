"""The features of the data plane, one file each."""
