"""Root file systems on node-local disk. `scratch.Scratch` is the way in."""
