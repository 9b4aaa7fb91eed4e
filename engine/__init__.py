"""All maths, models, tracking, rendering and runners. Imports neither export nor stream.

Importing it switches off what libraries report to their makers: that must come before any of them.
"""

from engine.library_reporting import switch_off

switch_off()
