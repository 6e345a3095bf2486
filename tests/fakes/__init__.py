"""Servers that speak a protocol on loopback and break on request."""
