"""HTTP/1.1 and WebSocket, on uvicorn's protocols."""
