"""The table of operations, in groups."""

from . import collectives as collectives
from . import contractions as contractions
from . import control_flow as control_flow
from . import elementwise as elementwise
from . import indexing as indexing
from . import linear_algebra as linear_algebra
from . import meetings as meetings
from . import reductions as reductions
from . import rows as rows
from . import shaping as shaping
from . import sharding as sharding
