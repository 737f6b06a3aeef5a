"""When this process loaded its first module of the pipeline. Imported before any other; a forked process keeps it."""

import time

LOADING_BEGAN_S = time.time()
