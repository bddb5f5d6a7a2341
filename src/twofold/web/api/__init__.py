"""The REST API, /api/v1: a FastAPI application of its own; nothing else answers below it."""
