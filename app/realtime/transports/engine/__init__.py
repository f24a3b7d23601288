"""An Engine.IO 4 server: sessions over HTTP long-polling and websockets, under python-socketio.

Protocol: https://github.com/socketio/engine.io-protocol
"""
