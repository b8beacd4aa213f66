"""The embedded control plane: it plans from manifests, keeps the history and gives out work.

It never imports user code. `servo.controlplane.serve.ControlPlane` is the way in.
"""
