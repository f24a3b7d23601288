"""The connections under the transports, past ASGI: uvicorn's protocols, and moving connections between workers."""
