"""What the gateway reports about itself and its clients."""
