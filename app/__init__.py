"""FX Gateway: foreign-exchange prices and alerts over Socket.IO, Server-Sent Events and REST, from one ordered log."""
