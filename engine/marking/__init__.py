"""Marks on clips: what is drawn on pictures and what is written into the file. Arithmetic and drawing only."""
