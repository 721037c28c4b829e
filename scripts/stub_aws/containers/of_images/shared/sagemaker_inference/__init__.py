"""What scripts import from AWS's inference toolkit at their beginning, in our own implementation.

A training job serves nothing: here are content types, decoders, encoders and errors, and no server.
"""
