"""Images: decoded pixels as rows, and the programs of steps that run over them. Pillow is imported here only."""
