"""The part that decides. Pure: facts and time come in as arguments, a decision goes out.

Start reading at `model` (what is known), then `rules` (what is decided), then `step` (how).
"""
