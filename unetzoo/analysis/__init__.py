"""The forward pass of any `nn.Module`: recorded and measured, and what follows from it."""
