"""Video clips in; bodies, motion fields, depth and validity maps out, as Parquet."""
