"""Untrusted pictures, sound and film, decoded in a process of their own.

`reader.read_media` is what others call. Everything that touches a decoder runs in `decoder`, a
child without files, network or descendants; the parent only takes plain pixels and samples.
"""
