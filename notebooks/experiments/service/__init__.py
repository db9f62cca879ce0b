"""The service and the batch job of notebook 13, and what was measured of them."""

import os

# Ray reads this when it is imported. It is Ray's name for "this machine alone": it then
# listens on loopback, on any system.
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
