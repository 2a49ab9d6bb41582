"""The interactive page of a run: one file that needs no network.

``html.py`` puts it together: words (``answer.py``, ``evidence.py``, ``verdict.py``), the numbers
for the script (``payload.py``), and the template, the style and the scripts in ``web/``.
"""
