"""What the gateway tells about itself and its clients."""
