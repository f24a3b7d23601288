"""How clients connect: Engine.IO, Socket.IO and Server-Sent Events."""
