"""Kubernetes manifests that come with Twofold, our own templates; checked by their schemas."""
