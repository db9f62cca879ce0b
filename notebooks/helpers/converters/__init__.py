"""How each base is brought to the library's format.

A module for each, with `convert(files, folder)`: from the unpacked package to what
`from_pretrained` reads.
"""
