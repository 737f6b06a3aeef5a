"""The contract between the pipeline that writes a dataset and the trainer that reads it."""
