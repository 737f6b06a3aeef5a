"""Pure, batched geometry: knows neither files nor frameworks. Conventions: `schemas.conventions`."""
