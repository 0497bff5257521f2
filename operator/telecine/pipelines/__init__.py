"""The user's own functions over assets: their code, the processes they run in, and their SDK."""
