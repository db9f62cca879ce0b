"""The small module that every notebook imports: `from helpers import setup, …`.

It fetches and names models, draws the pictures that are drawn more than once, and
checks exercises. It hides nothing that a page teaches; read it whole if you like.
"""

from .audio import sound
from .exercises import check, hint, quiz
from .figures import plot_bars, plot_boxes, plot_matrix, plot_sentiment
from .models import files_of, model_for, register_own_tasks
from .photographs import photograph
from .session import setup
from .widgets import explore

__all__ = [
    "check",
    "explore",
    "files_of",
    "hint",
    "model_for",
    "photograph",
    "plot_bars",
    "plot_boxes",
    "plot_matrix",
    "plot_sentiment",
    "quiz",
    "register_own_tasks",
    "setup",
    "sound",
]
